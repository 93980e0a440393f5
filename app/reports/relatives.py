"""Compares a job with its baselines, forks and others: the paper's Table 1, curves, and differing
settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from app.ledger.jobs.relations import Relative
from star_engine.evaluation.intervals import Interval
from star_engine.evaluation.report import percent, points

NONE = "–"
HEADER = (
    "job", "what", "iteration", "right", "accuracy", "95 % interval", "train data used",
    "this job against it", "95 % interval", "p",
)  # fmt: skip
TEXT = (
    "The iteration of each with most right answers, on the held-out examples. Train data used: the share of "
    "that iteration's examples in its training set, generated + rationalized, or hinted. The difference is "
    "in points, of this job's to the other's, paired by example: above zero, this job is better. Its "
    "interval and p (exact sign test) are corrected for choosing an iteration of both jobs; the interval of "
    "an accuracy is of that row alone."
)
SETTINGS_HEADER = ("job", "setting", "this job", "the other")


def relative_rows(relatives: Sequence[Relative]) -> tuple[tuple[str, ...], ...]:
    """Return one row per job, in the order of HEADER."""
    return tuple(map(_row, relatives))


def setting_rows(relatives: Sequence[Relative]) -> tuple[tuple[str, ...], ...]:
    """Every setting in which another job differs from this one."""
    return tuple(
        (one.name, found.name, json.dumps(found.this), json.dumps(found.other))
        for one in relatives
        for found in one.settings
    )


def curves(
    own: Sequence[tuple[int, float]], relatives: Sequence[Relative], most: int
) -> Mapping[str, tuple[tuple[int, float], ...]]:
    """Accuracy over iterations by name, this job first; at most `most` lines."""
    lines = {"this job": tuple(own)} if own else {}
    for one in relatives:
        if one.curve:
            lines[f"{one.name} ({one.role})"] = one.curve
    return dict(list(lines.items())[:most])


def _row(one: Relative) -> tuple[str, ...]:
    if one.accuracy is None or one.interval is None:
        return (one.name, one.role, *(NONE,) * 8)
    compared = (NONE,) * 3
    if (found := one.difference) is not None:
        between = f"{points(found.interval.low)} to {points(found.interval.high)}"
        compared = (points(found.points), between, f"{found.p_value:.3f}")
    return (
        one.name,
        one.role,
        str(one.iteration),
        f"{one.correct} of {one.n}",
        percent(one.accuracy),
        _percents(one.interval),
        _used(one.train_data),
        *compared,
    )


def _percents(interval: Interval) -> str:
    return f"{percent(interval.low)} to {percent(interval.high)}"


def _used(shares: Mapping[str, float] | None) -> str:
    if not shares:
        return NONE
    if (hinted := shares.get("hinted")) is not None:
        return f"{percent(shares.get('generated', 0.0))} + {percent(hinted)} hinted"
    return f"{percent(shares.get('generated', 0.0))} + {percent(shares.get('rationalized', 0.0))}"
