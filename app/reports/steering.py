"""What an iteration's tries explore, and whether rewards tell the right ones, beside a fixed temperature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.ledger.jobs.report import JobReport
from star_engine.config.presets import FIXED_TEMPERATURE
from star_engine.evaluation.balance import DISTINCT
from star_engine.evaluation.report import percent

NONE = "–"
HEADER = (
    "iteration", "job", "temperature", "threshold", "balance score",
    *(f"Pass@K-{count}" for count in DISTINCT), "distinct", "entropy", "Best-of-K",
    *(f"Reward@K-{count}" for count in DISTINCT[1:]),
)  # fmt: skip
TEXT = (
    "Of the tries without a hint at the iteration's train examples. Pass@K-S: examples with S distinct right "
    "solutions or more among K tries; distinct: solutions among right tries; entropy: of the stated answers, "
    "in bits. Best-of-K: examples whose best rewarded try is right; Reward@K-S: whose S best rewarded are."
)


def rows(report: JobReport) -> tuple[tuple[str, ...], ...]:
    """A row per iteration, in the order of HEADER, and one for the job at a fixed temperature beside it."""
    fixed = [one for one in report.relatives if one.role == f"baseline {FIXED_TEMPERATURE}"]
    found = []
    for turn in report.coverage:
        own = (turn.audits or {}).get("exploration")
        if own:
            found.append(_row(turn.iteration, "this", own, turn.control or {}))
            beside = (dict(one.exploration).get(turn.iteration) for one in fixed)
            found += [_row(turn.iteration, FIXED_TEMPERATURE, one, {}) for one in beside if one]
    return tuple(found)


def _row(iteration: int, job: str, found: Mapping[str, Any], control: Mapping[str, Any]) -> tuple[str, ...]:
    rewarded: Mapping[str, float] = found.get("rewarded", {})
    chosen = (control.get(name) for name in ("temperature", "threshold", "score"))
    return (
        str(iteration),
        job,
        *(NONE if one is None else f"{one:.3g}" for one in chosen),
        *(_share(found["pass"].get(str(count))) for count in DISTINCT),
        _share(found["distinct_share"]),
        f"{found['entropy']:.2f}",
        *(_share(rewarded.get(str(count))) for count in DISTINCT),
    )


def _share(value: float | None) -> str:
    return NONE if value is None else percent(value)
