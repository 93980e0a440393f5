"""star rationales."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer
from typer.core import TyperGroup

from star_client.cli.invocation import AsJson, JobId, star
from star_client.cli.printing import (
    Columns,
    moment,
    print_all,
    print_json,
    print_one,
    print_rationale,
    shorten,
)
from star_client.objects import Rationale
from star_client.objects_results import Override
from star_client.resources import LARGEST_PAGE


class ListByDefault(TyperGroup):
    """`star rationales job_...` is `star rationales list job_...`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["list", *args]
        return super().parse_args(ctx, args)


rationales = typer.Typer(
    cls=ListByDefault, no_args_is_help=True, help="Every rationale that was sampled, and its verdict."
)

RATIONALE: Columns[Rationale] = {
    "id": lambda one: one.id,
    "iteration": lambda one: one.iteration,
    "example": lambda one: one.example.id,
    "route": lambda one: one.route,
    "verdict": lambda one: one.verdict,
    "decision": lambda one: one.decision,
    "reason": lambda one: one.reason,
    "extracted": lambda one: one.extracted,
    "answer": lambda one: one.example.answer,
    "text": lambda one: shorten(one.text, 40),
}
OVERRIDE: Columns[Override] = {
    "id": lambda one: one.id,
    "verdict": lambda one: one.verdict,
    "reason": lambda one: one.reason,
    "reviewer": lambda one: one.reviewer,
    "created": lambda one: moment(one.created_at),
}
RationaleId = Annotated[str, typer.Argument(metavar="RATIONALE", help="Id of a rationale: rat_...")]


@rationales.command("list")
def list_rationales(
    context: typer.Context,
    job_id: JobId,
    iteration: Annotated[int | None, typer.Option(min=1)] = None,
    route: Annotated[str | None, typer.Option(help="generated, rationalized, hinted or given")] = None,
    verdict: Annotated[str | None, typer.Option(help="correct, wrong, unparsed, ambiguous or error")] = None,
    decision: Annotated[str | None, typer.Option(help="kept or dropped")] = None,
    reason: Annotated[str | None, typer.Option(help="Why it was dropped.")] = None,
    example: Annotated[str | None, typer.Option(help="All tries at this example.")] = None,
    text: Annotated[str | None, typer.Option(help="Those that hold this text.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most this many, the oldest first; 0: all.")] = 20,
    show: Annotated[str | None, typer.Option(help="Show this one in full: rat_...")] = None,
    as_json: AsJson = False,
) -> None:
    """Every rationale that was sampled, and why it was kept or dropped."""
    client = star(context)
    if show is not None:
        found = client.rationales.get(job_id, show)
        return print_json(found) if as_json else print_rationale(found)
    filters = {
        "limit": min(limit or LARGEST_PAGE, LARGEST_PAGE),
        "iteration": iteration,
        "route": route,
        "verdict": verdict,
        "decision": decision,
        "reason": reason,
        "example": example,
        "text": text,
    }
    return print_all(islice(client.rationales.every(job_id, **filters), limit or None), RATIONALE, as_json)


@rationales.command("override")
def override(
    context: typer.Context,
    job_id: JobId,
    rationale_id: RationaleId,
    verdict: Annotated[str, typer.Option(help="correct or wrong")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with your name.")],
    as_json: AsJson = False,
) -> None:
    """Judge a rationale yourself: its next iteration, or a fork, honours that."""
    made = star(context).rationales.override(job_id, rationale_id, verdict=verdict, reason=reason)
    print_one(made, OVERRIDE, as_json)


@rationales.command("overrides")
def overrides(
    context: typer.Context, job_id: JobId, rationale_id: RationaleId, as_json: AsJson = False
) -> None:
    """What reviewers have said of a rationale."""
    print_all(star(context).rationales.overrides(job_id, rationale_id), OVERRIDE, as_json)
