from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from star_engine.config.star import StarConfig
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.intervals import accuracy_interval, difference_interval
from star_engine.evaluation.report import (
    AccuracyRow,
    Churn,
    Outcomes,
    accuracy_rows,
    churn,
    switches,
)
from star_engine.tasks.kind import Kind
from tests.star_engine.evaluation.outcomes import measured, right

DIRECT, COT, ADAPTER = EvaluationMode.FEW_SHOT_DIRECT, EvaluationMode.FEW_SHOT_COT, EvaluationMode.ADAPTER


def report(n: int, **solved: Iterable[int]) -> tuple[AccuracyRow, ...]:
    return accuracy_rows(measured(n, **solved), {})


def test_each_row_is_paired_with_the_better_baseline() -> None:
    direct, cot, first = report(10, direct=range(2), cot=range(1, 5), m1=range(3, 10))
    assert (direct.accuracy, cot.accuracy, first.accuracy) == (0.2, 0.4, 0.7)
    assert first.interval == accuracy_interval(7, 10)
    assert cot.difference is None
    assert direct.difference is not None
    assert (direct.difference.gained, direct.difference.lost, direct.difference.points) == (1, 3, -0.2)
    assert first.difference is not None
    assert (first.difference.gained, first.difference.lost, first.difference.points) == (5, 2, 0.3)
    assert first.difference.interval == difference_interval(5, 2, 10)


def test_rows_are_compared_on_the_examples_that_both_answered() -> None:
    outcomes = [Outcomes(COT, 0, {1: True, 2: False}), Outcomes(ADAPTER, 1, {2: True, 3: True})]
    _, row = accuracy_rows(outcomes, {})
    assert row.difference is not None
    assert (row.n, row.difference.n, row.difference.gained) == (2, 1, 1)


def test_groups_are_told_apart_in_the_order_of_numbers() -> None:
    [row] = accuracy_rows([Outcomes(COT, 0, right(5, [0, 1]))], {0: "10", 1: "2", 2: "2", 3: "10"})
    assert [(name, one.accuracy, one.n) for name, one in row.by_group.items()] == [
        ("2", 0.5, 2),
        ("10", 0.5, 2),
    ]
    assert row.by_group["2"].interval == accuracy_interval(1, 2)


def test_churn_is_the_one_counted_by_hand() -> None:
    tries = [
        *((1, example, example in (1, 2)) for example in (1, 2, 3, 4)),
        *((2, example, example in (1, 3)) for example in (1, 2, 3, 4)),
        *((3, example, example == 2) for example in (2, 4, 5)),
    ]
    assert list(churn(tries)) == [
        Churn(1, asked=4, newly_solved=2, retained=0, forgotten=0, never=2),
        Churn(2, asked=4, newly_solved=1, retained=1, forgotten=1, never=1),
        Churn(3, asked=3, newly_solved=0, retained=1, forgotten=0, never=2),
    ]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 8), st.booleans())))
def test_churn_parts_sum_to_what_was_asked(tries: list[tuple[int, int, bool]]) -> None:
    rows = list(churn(tries))
    for row in rows:
        assert row.newly_solved + row.retained + row.forgotten + row.never == row.asked
        assert row.asked == len({example for iteration, example, _ in tries if iteration == row.iteration})
    assert sum(row.newly_solved for row in rows) == len({example for _, example, solved in tries if solved})


def test_switches_stand_beside_the_preset() -> None:
    config = StarConfig.model_validate({"kind": "choice", "rationalization": {"enabled": False}})
    found = {switch.name: switch for switch in switches(config)}
    changed = found["rationalization.enabled"]
    assert (changed.value, changed.preset) == (False, True)
    assert found["training.schedule.factor"].value == found["training.schedule.factor"].preset == 1.2
    assert found["kind"].value == Kind.CHOICE.value
