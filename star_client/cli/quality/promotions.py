"""star adapters promote, promotions and demote."""

from __future__ import annotations

from typing import Annotated

import typer

from star_client.cli.invocation import AsJson, Limit, star
from star_client.cli.printing import Columns, moment, print_all, print_one
from star_client.quality.promotions import Promotion


def _gain(one: Promotion) -> str | None:
    if one.receipt.gain is None:
        return None
    apart = one.receipt.gain.difference
    low, high = 100 * apart.interval.low, 100 * apart.interval.high
    return f"{100 * apart.points:+.1f} points ({low:+.1f} to {high:+.1f})"


PROMOTION: Columns[Promotion] = {
    "id": lambda one: one.id,
    "stands for": lambda one: f"{one.name}@{one.stage}",
    "adapter": lambda one: one.adapter,
    "gain": _gain,
    "forced": lambda one: one.reason if one.forced else None,
    "by": lambda one: one.promoted_by,
    "since": lambda one: moment(one.created_at),
    "ended": lambda one: None if one.ended_at is None else moment(one.ended_at),
}


def promote(
    context: typer.Context,
    adapter_id: Annotated[
        str, typer.Argument(metavar="ADAPTER", help="Its id, or job_...:best, job_...:last, job_...:3.")
    ],
    name: Annotated[str, typer.Option(help="Which of the project's adapters this is.")] = "default",
    stage: Annotated[str, typer.Option(help="Such as staging or production.")] = "production",
    force: Annotated[bool, typer.Option("--force", help="Although its receipt shows no gain.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; stands in the audit log.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let an adapter stand for NAME@STAGE. Refused where its gain over the base model is not shown."""
    made = star(context).adapters.promote(adapter_id, name=name, stage=stage, force=force, reason=reason)
    print_one(made, PROMOTION, as_json)


def promotions(
    context: typer.Context,
    name: Annotated[str | None, typer.Option()] = None,
    stage: Annotated[str | None, typer.Option()] = None,
    adapter: Annotated[str | None, typer.Option(help="Only of this adapter.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Which adapter stands for which NAME@STAGE."""
    found = star(context).promotions.list(
        name=name, stage=stage, adapter=adapter, current=not every, limit=limit
    )
    print_all(found.data, PROMOTION, as_json)


def demote(
    context: typer.Context,
    promotion_id: Annotated[str, typer.Argument(metavar="PROMOTION")],
    as_json: AsJson = False,
) -> None:
    """End a promotion: nothing stands there any more."""
    print_one(star(context).promotions.end(promotion_id), PROMOTION, as_json)
