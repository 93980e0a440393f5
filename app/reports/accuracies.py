"""The cells of accuracies in a report's tables, each with its interval."""

from __future__ import annotations

from collections.abc import Callable

from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.intervals import Interval
from star_engine.evaluation.report import AccuracyRow, GroupAccuracy, percent, points

NAMES = {
    EvaluationMode.FEW_SHOT_DIRECT: "few-shot, answer only",
    EvaluationMode.FEW_SHOT_COT: "few-shot with rationales",
}
NONE = "–"


def accuracy_row(row: AccuracyRow, used: dict[str, float] | None, method: str) -> tuple[str, ...]:
    found = row.difference
    compared = (NONE,) * 3
    if found is not None:
        compared = (points(found.points), _interval(found.interval, points), f"{found.p_value:.3f}")
    share = NONE
    if used is not None:
        share = " + ".join(percent(used[route]) for route in used if route != "total")
    right = f"{row.correct} of {row.n}"
    return (
        name_of(row, method),
        right,
        percent(row.accuracy),
        _interval(row.interval, percent),
        *compared,
        share,
    )


def name_of(row: AccuracyRow, method: str) -> str:
    return NAMES.get(row.mode, f"{method}, iteration {row.iteration}")


def group_cell(found: GroupAccuracy | None) -> str:
    if found is None:
        return NONE
    return f"{percent(found.accuracy)} ({_interval(found.interval, percent)}, {found.n})"


def share_cell(value: float | None) -> str:
    return NONE if value is None else percent(value)


def _interval(interval: Interval, written: Callable[[float], str]) -> str:
    return f"{written(interval.low)} to {written(interval.high)}"
