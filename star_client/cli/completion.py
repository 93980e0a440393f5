"""What a shell offers where an id is typed: the newest objects, with their names beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import typer

from star_client.client import StarClient
from star_client.errors import StarError

SHOWN = 50  # newest
Offered = Callable[[typer.Context, str], Iterator[tuple[str, str]]]


def _not_again(_: float) -> None:
    """In place of the pause before another try: a shell does not wait."""
    raise StarError("The platform does not answer.")


def offering(read: Callable[[StarClient], Iterable[Any]]) -> Offered:
    """Ids of these that begin as was typed. Nothing where no platform answers: a shell shows no errors."""

    def offered(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
        try:
            with StarClient(context.find_root().obj, pause=_not_again) as star:
                found = [(one.id, getattr(one, "name", None) or "") for one in read(star)]
        except StarError:
            return
        yield from (one for one in found if one[0].startswith(incomplete))

    return offered


jobs = offering(lambda star: star.jobs.list(limit=SHOWN).data)
datasets = offering(lambda star: star.datasets.list(limit=SHOWN).data)
prompt_sets = offering(lambda star: star.prompt_sets.list(limit=SHOWN).data)
models = offering(lambda star: star.models.list(limit=SHOWN).data)
adapters = offering(lambda star: star.adapters.list_all(limit=SHOWN).data)
