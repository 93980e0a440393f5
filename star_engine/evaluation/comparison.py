"""Compares two jobs on the same held-out examples, as in the paper's Tables 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.answer import Vote
from star_engine.evaluation.collapse import Measured, measure_collapse
from star_engine.evaluation.receipt import Evidence
from star_engine.evaluation.report import Difference, Outcomes, difference, flat_settings, reference


@dataclass(frozen=True, slots=True)
class SettingDifference:
    """A setting that two jobs do not share, by its dotted name."""

    name: str
    this: Any
    other: Any


def best_outcomes(outcomes: Sequence[Outcomes]) -> Outcomes | None:
    """A job's best iteration, the earlier one on a tie; its better baseline where it has trained nothing."""
    trained = [item for item in outcomes if item.mode is EvaluationMode.ADAPTER]
    asked = [item for item in (trained or outcomes) if item.correct]
    return max(asked, key=lambda item: (item.share, -item.iteration), default=None)


def best_difference(
    this: Sequence[Outcomes], other: Sequence[Outcomes], choices: int = 1
) -> Difference | None:
    """Return this job's best minus the other's, paired by example; None where they share no example.

    choices: the pairs of iterations that could have been chosen; p and interval are corrected for them.
    """
    ours, theirs = best_outcomes(this), best_outcomes(other)
    return (
        None if ours is None or theirs is None else difference(ours.correct, theirs.correct, choices=choices)
    )


def choices(config: StarConfig, outcomes: Sequence[Outcomes]) -> int:
    """How many iterations the best one of a job is chosen from, at whatever time it is looked at."""
    evaluated = sum(item.mode is EvaluationMode.ADAPTER for item in outcomes)
    return max(1, evaluated, 0 if config.baselines_only else config.iterations)


def evidence_so_far(
    config: StarConfig,
    outcomes: Sequence[Outcomes],
    iteration: int,
    vote: Vote | None,
    measured: Sequence[Measured] = (),
) -> Evidence:
    """What a receipt is made from as soon as an iteration has been evaluated, in the run itself.

    measured: many answers to each question, of the base model and the iteration, once both are there.
    """
    asked = [one for one in outcomes if one.correct]
    own = (one for one in asked if one.mode is EvaluationMode.ADAPTER and one.iteration == iteration)
    return Evidence(
        outcomes=asked,
        planned=choices(config, asked),
        vote=vote,
        collapse=measure_collapse(measured, iteration, next(own, None), reference(asked)),
    )


def curve(outcomes: Sequence[Outcomes]) -> tuple[tuple[int, float], ...]:
    """Accuracy over iterations; at 0 the better few-shot baseline."""
    best: dict[int, float] = {}
    for item in outcomes:
        if item.correct:
            best[item.iteration] = max(item.share, best.get(item.iteration, 0.0))
    return tuple(sorted(best.items()))


def setting_differences(this: StarConfig, other: StarConfig) -> tuple[SettingDifference, ...]:
    """What the two were run with differently."""
    ours, theirs = dict(flat_settings(this)), dict(flat_settings(other))
    return tuple(_differing(ours, theirs))


def _differing(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[SettingDifference]:
    for name in dict.fromkeys([*ours, *theirs]):
        if ours.get(name) != theirs.get(name):
            yield SettingDifference(name, ours.get(name), theirs.get(name))
