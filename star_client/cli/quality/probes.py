"""A probe as `star` prints it."""

from __future__ import annotations

from typing import Annotated

import typer

from star_client.cli.invocation import FAILED, OUTCOMES, AsJson, star
from star_client.cli.printing import Columns, print_one, print_text
from star_client.client import StarClient
from star_client.quality.probes import Part, Probe

ProbeId = Annotated[str, typer.Argument(metavar="PROBE", help="Id of a probe: job_...")]


def _part(one: Part) -> str:
    low, high = 100 * one.interval.low, 100 * one.interval.high
    return f"{100 * one.share:.1f} % ({low:.1f} to {high:.1f})"


PROBE: Columns[Probe] = {
    "id": lambda one: one.id,
    "status": lambda one: one.status,
    "questions": lambda one: f"{one.questions} of {one.stands_for}",
    "never right": lambda one: one.difficulty and _part(one.difficulty.all_wrong),
    "sometimes right": lambda one: one.difficulty and _part(one.difficulty.mixed),
    "always right": lambda one: one.difficulty and _part(one.difficulty.all_right),
    "pass@k": lambda one: (
        one.difficulty
        and ", ".join(f"k={point.k}: {100 * point.value:.1f} %" for point in one.difficulty.passed)
    ),
    "solved by the job's tries": lambda one: one.difficulty and _part(one.difficulty.solved),
    "right with the hint": lambda one: (
        _part(one.difficulty.rationalized) if one.difficulty and one.difficulty.rationalized else None
    ),
    "rows an iteration": lambda one: (
        one.difficulty
        and f"{one.difficulty.rows.expected} ({one.difficulty.rows.low} to {one.difficulty.rows.high})"
    ),
    "optimizer steps": lambda one: None if one.work is None else sum(one.work.get("steps", ())),
    "GPU-seconds used": lambda one: one.gpu_seconds,
    "GPU-seconds of the job's sampling": lambda one: one.sampling_gpu_seconds,
    "tries found on record": lambda one: one.reused,
}


def show_probe(
    context: typer.Context,
    probe_id: ProbeId,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """How hard the train questions are, begun by star jobs create --dry-run --probe 50."""
    client = star(context)
    found = client.jobs.wait_for_probe(probe_id) if wait else client.jobs.probed(probe_id)
    print_probe(found, as_json)


def print_probe(found: Probe, as_json: bool) -> None:
    print_one(found, PROBE, as_json)
    if found.difficulty is not None and not as_json:
        advice = "\n".join(f"- {one.message}" for one in found.difficulty.advice)
        print_text("What would help", advice or "Nothing speaks against the job as it is.")


def wait_and_print(client: StarClient, probe_id: str, as_json: bool) -> None:
    found = client.jobs.wait_for_probe(probe_id)
    print_probe(found, as_json)
    if found.status != "succeeded":
        raise typer.Exit(OUTCOMES.get(found.status, FAILED))
