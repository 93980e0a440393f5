"""star jobs advice: what an iteration's records say should be changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from star_client.cli.invocation import AsJson, JobId, star
from star_client.cli.printing import console, print_json


def advice(
    context: typer.Context,
    job_id: JobId,
    iteration: Annotated[
        int | None, typer.Option(min=0, help="Of this one; else the newest that says something.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What an iteration's records say should be changed: the evidence, and the setting for a new job."""
    found = star(context).jobs.advice(job_id, iteration)
    if as_json:
        for one in found:
            print_json(one)
        return
    if not found:
        _say("Nothing stands out: no rule has anything to say.")
    for one in found:
        where = f"Iteration {one.iteration}" if one.iteration else "Baselines"
        _say(f"{where}: {one.saw} {one.do}")
        for name, value in _flat(one.settings):
            _say(f"  --set {name}={json.dumps(value)}")


def _say(text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted names, as `--set` takes them."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
