from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.config.controller import Controller
from star_engine.config.presets import b_star
from star_engine.config.star import StarConfig
from star_engine.evaluation.balance import balance_score, choose, exploration, rows_wanted
from star_engine.sampling.probes import adopted, of_place
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.kind import Kind

CONTROLLER = Controller(temperatures=(0.5, 1.0), rows_wanted=2)


def config(samples: int = 4) -> StarConfig:
    preset = b_star(Kind.NUMERIC).model_dump(mode="json")
    preset["controller"] = CONTROLLER.model_dump(mode="json")
    preset["generation"]["samples_per_example"] = samples
    return StarConfig.model_validate(preset)


def a_try(example: str, sample: int, text: str, verdict: str, route: Route = Route.PROBE) -> Rationale:
    return Rationale(RationaleKey(example, route, sample), text, verdict, text, "test", 5, 3, "stop")


def probes(place: int, example: str, *texts: str) -> list[Rationale]:
    """Four probes at one temperature; a text that begins with an x is wrong."""
    return [
        a_try(example, 4 * place + n, text, "wrong" if text.startswith("x") else "correct")
        for n, text in enumerate(texts)
    ]


def test_the_balance_score_is_the_papers() -> None:
    # n* = 6: of 8 selected 4 are distinct, so min(4/6, 1) * 4/8.
    assert balance_score(8, 4, 6) == pytest.approx(4 / 6 * 0.5)
    assert balance_score(8, 8, 6) == 1.0
    assert balance_score(0, 0, 6) == 0.0
    with pytest.raises(ValueError, match="cannot be distinct"):
        balance_score(2, 3, 6)


@given(right=st.integers(1, 64), distinct=st.integers(1, 64), wanted=st.integers(1, 16))
def test_more_distinct_tries_never_lower_the_score_and_repeats_never_raise_it(
    right: int, distinct: int, wanted: int
) -> None:
    if distinct > right:
        right, distinct = distinct, right
    score = balance_score(right, distinct, wanted)
    assert 0 < score <= 1
    assert balance_score(right + 1, distinct, wanted) <= score
    assert balance_score(right + 1, distinct + 1, wanted) >= score


def test_the_temperature_with_enough_distinct_right_tries_is_chosen() -> None:
    cold = probes(0, "a", "1 + 1 = 2", "1+1=2", "so 1 + 1 = 2", "1 + 1 = 2.")
    hot = probes(1, "a", "1 + 1 = 2", "3 - 1 = 2", "x", "x")
    found = choose(config(), CONTROLLER, 1, ["a"], 10, [*cold, *hot])
    assert found["temperature"] == 1.0
    assert [(one["right"], one["distinct"]) for one in found["grid"]] == [(4, 1), (2, 2)]
    assert [one["score"] for one in found["grid"]] == [0.125, 1.0]


def test_of_equal_scores_the_lowest_temperature_wins() -> None:
    tries = [*probes(0, "a", "x", "x", "x", "x"), *probes(1, "a", "x", "x", "x", "x")]
    assert choose(config(), CONTROLLER, 1, ["a"], 10, tries)["temperature"] == 0.5


def test_enough_follows_from_the_rows_of_the_steps() -> None:
    unset = Controller(temperatures=(0.5, 1.0))
    assert rows_wanted(config(), unset, 1, 1000) == 4  # 100 steps of 32 rows
    assert rows_wanted(config(), CONTROLLER, 1, 1000) == 2


def test_probes_at_the_chosen_temperature_become_the_tries_that_they_stand_for() -> None:
    tries = [*probes(0, "a", "1", "2", "3", "4"), *probes(1, "a", "5", "6", "7", "8")]
    assert [one.text for one in of_place(config(), 1, tries)] == ["5", "6", "7", "8"]
    found = list(adopted(config(), 1, tries))
    assert [one.key for one in found] == [RationaleKey("a", Route.GENERATED, n) for n in range(4)]
    assert [
        replace(one, key=other.key, reused=False) for one, other in zip(found, tries[4:], strict=True)
    ] == (tries[4:])


def test_exploration_counts_examples_with_so_many_distinct_solutions() -> None:
    tries = [
        a_try("a", 0, "1 + 1 = 2", "correct", Route.GENERATED),
        a_try("a", 1, "3 - 1 = 2", "correct", Route.GENERATED),
        a_try("b", 0, "x", "wrong", Route.GENERATED),
        a_try("b", 1, "1 + 1 = 2", "correct", Route.GENERATED),
    ]
    found = exploration(["a", "b"], 2, tries)
    assert found is not None
    assert found["pass"] == {"1": 1.0, "2": 0.5}
    assert found["distinct_share"] == 1.0
    assert found["entropy"] == 1.0
    assert exploration(["a"], 1, tries) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": "majority_vote"}, "lowest temperature best"),
        ({"generation": {"samples_per_example": 1}}, "of one try there is no balance"),
        ({"training": {"schedule": {"kind": "epochs"}}}, "controller.rows_wanted"),
        ({"controller": {"temperatures": [1.0, 0.5]}}, "temperatures ascend"),
    ],
)
def test_what_contradicts_a_controller_is_refused(changes: dict[str, object], reason: str) -> None:
    settings: dict[str, object] = {
        "kind": "numeric",
        "controller": {},
        "generation": {"samples_per_example": 4, "temperature": 0.7},
        "rationalization": {"enabled": False},
    }
    with pytest.raises(ValueError, match=reason):
        StarConfig.model_validate({**settings, **changes})
