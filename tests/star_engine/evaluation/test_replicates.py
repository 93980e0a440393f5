from __future__ import annotations

import pytest

from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.intervals import mean_interval
from star_engine.evaluation.replicates import over_seeds, replicate
from star_engine.evaluation.report import Outcomes


def outcomes(few_shot: int, *iterations: int) -> list[Outcomes]:
    """Of ten examples, the first so many right."""
    rows = [Outcomes(EvaluationMode.FEW_SHOT_COT, 0, {n: n < few_shot for n in range(10)})]
    for number, right in enumerate(iterations, start=1):
        rows.append(Outcomes(EvaluationMode.ADAPTER, number, {n: n < right for n in range(10)}))
    return rows


def test_a_replicate_counts_with_its_last_iteration_not_with_its_best() -> None:
    found = replicate("job_1", 7, outcomes(3, 9, 6))
    assert (found.seed, found.iteration, found.accuracy) == (7, 2, 0.6)
    assert found.points == pytest.approx(0.3)


def test_the_spread_over_seeds_is_that_of_independent_values() -> None:
    rights = (5, 6, 9)
    found = over_seeds([replicate(f"job_{n}", n, outcomes(3, right)) for n, right in enumerate(rights)])
    assert found.accuracy is not None
    assert found.points is not None
    assert found.accuracy.mean == pytest.approx(2 / 3)
    assert found.accuracy.sd == pytest.approx(0.2081666)
    assert found.accuracy.interval == mean_interval([0.5, 0.6, 0.9])
    assert found.points.mean == pytest.approx(2 / 3 - 0.3)


def test_one_evaluated_seed_has_no_spread() -> None:
    found = over_seeds([replicate("job_1", 1, outcomes(3, 5)), replicate("job_2", 2, outcomes(3))])
    assert (found.accuracy, found.points) == (None, None)
    assert [one.accuracy for one in found.replicates] == [0.5, None]
