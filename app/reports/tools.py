"""How often each iteration's texts call their tool, and how accurate its model is with it and without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.ledger.jobs.report import Coverage
from star_engine.evaluation.accuracy import WITH_A_TOOL
from star_engine.evaluation.report import percent
from star_engine.sampling.rationales import Route

NONE = "–"
HEADER = (
    "iteration", "with the tool", "without it", "with a hint",
    "call it unasked", "call it hinted", "failed calls",
)  # fmt: skip
TEXT = (
    "Held-out accuracy of the same adapter in each way; then the share of train texts that call the tool, by "
    "themselves and with a procedural hint, and the share of all calls that failed."
)


def tool_rows(coverage: Sequence[Coverage]) -> tuple[tuple[str, ...], ...]:
    """A row of HEADER for each iteration of a job with a tool; none where it has none."""
    return tuple(_row(row, row.tool_use) for row in coverage if row.tool_use is not None)


def _row(row: Coverage, use: Mapping[str, Any]) -> tuple[str, ...]:
    measured = row.tool_accuracy or {}
    accuracies = [measured.get(str(mode), {}).get("accuracy") for mode in WITH_A_TOOL]
    rates = [use.get(str(route), {}).get("rate") for route in (Route.GENERATED, Route.HINTED)]
    calls = sum(one["calls"] for one in use.values())
    failed = sum(one["failed"] for one in use.values()) / calls if calls else None
    shares = [*accuracies, *rates, failed]
    return (str(row.iteration), *(NONE if share is None else percent(share) for share in shares))
