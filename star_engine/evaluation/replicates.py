"""How much a result owes to the seed: the accuracies of one job that was run with several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.intervals import Interval, mean_interval
from star_engine.evaluation.report import Outcomes, difference, reference


@dataclass(frozen=True, slots=True)
class Replicate:
    """One job of the family; None: none of its iterations has been evaluated."""

    job: str
    seed: int
    iteration: int | None  # the last one evaluated: not chosen, so that nothing flatters it
    accuracy: float | None
    points: float | None  # to the job's better few-shot baseline, over the same examples


@dataclass(frozen=True, slots=True)
class Spread:
    """Over seeds. `interval`: Student's 95 % interval of the mean."""

    n: int
    mean: float
    sd: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class OverSeeds:
    replicates: tuple[Replicate, ...]
    accuracy: Spread | None  # None: fewer than two are evaluated
    points: Spread | None


def replicate(job: str, seed: int, outcomes: Sequence[Outcomes]) -> Replicate:
    """What a job adds to the figures over seeds."""
    trained = [item for item in outcomes if item.mode is EvaluationMode.ADAPTER and item.correct]
    last = max(trained, key=lambda item: item.iteration, default=None)
    if last is None:
        return Replicate(job, seed, None, None, None)
    few_shot = reference(outcomes)
    found = None if few_shot is None else difference(last.correct, few_shot.correct)
    return Replicate(job, seed, last.iteration, last.share, None if found is None else found.points)


def over_seeds(replicates: Sequence[Replicate]) -> OverSeeds:
    return OverSeeds(
        replicates=tuple(replicates),
        accuracy=_spread([one.accuracy for one in replicates if one.accuracy is not None]),
        points=_spread([one.points for one in replicates if one.points is not None]),
    )


def _spread(values: Sequence[float]) -> Spread | None:
    n = len(values)
    if n < 2:
        return None
    mean = sum(values) / n
    sd = (sum((value - mean) ** 2 for value in values) / (n - 1)) ** 0.5
    return Spread(n, mean, sd, mean_interval(values))
