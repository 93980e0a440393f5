from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.config.controller import Controller
from star_engine.config.presets import b_star
from star_engine.config.star import StarConfig
from star_engine.evaluation.balance import balance_score, choose, exploited, exploration, rows_wanted
from star_engine.evaluation.solution_key import solution_key
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
    assert [(one["selected"], one["distinct"]) for one in found["grid"]] == [(4, 1), (2, 2)]
    assert [one["score"] for one in found["grid"]] == [0.125, 1.0]


def test_of_equal_scores_the_lowest_temperature_wins() -> None:
    tries = [*probes(0, "a", "x", "x", "x", "x"), *probes(1, "a", "x", "x", "x", "x")]
    assert choose(config(), CONTROLLER, 1, ["a"], 10, tries)["temperature"] == 0.5


VERDICTS = ("correct", "wrong", "unparsed")
ANY_TRY = st.tuples(
    st.sampled_from(["1 + 1 = 2", "3 - 1 = 2", "so 1+1 = 2", "two", "2 ."]),
    st.sampled_from(VERDICTS),
    st.one_of(st.none(), st.integers(-10, 10).map(lambda tenths: tenths / 10)),
)


@given(
    st.lists(
        st.lists(st.lists(ANY_TRY, min_size=4, max_size=4), min_size=2, max_size=2), min_size=1, max_size=4
    ),
    st.lists(st.integers(-10, 10), min_size=1, max_size=6, unique=True).map(sorted),
    st.integers(1, 5),
)
def test_the_chosen_temperature_and_threshold_are_those_of_brute_force(
    by_example: list[list[list[tuple[str, str, float | None]]]], tenths: list[int], wanted: int
) -> None:
    thresholds = [tenth / 10 for tenth in tenths]
    controller = Controller(temperatures=(0.5, 1.0), thresholds=tuple(thresholds), rows_wanted=wanted)
    tries = [
        replace(a_try(str(name), 4 * place + n, text, verdict), reward=reward)
        for name, places in enumerate(by_example)
        for place, four in enumerate(places)
        for n, (text, verdict, reward) in enumerate(four)
    ]
    scores = {}
    for place, temperature in enumerate((0.5, 1.0)):
        for threshold in thresholds:
            each = []
            for places in by_example:
                taken = [
                    (text, verdict)
                    for text, verdict, reward in places[place]
                    if (verdict == "correct") + (-1.0 if reward is None else reward) > threshold
                ]
                right = {solution_key(text) for text, verdict in taken if verdict == "correct"}
                each.append(min(len(right) / wanted, 1) * len(right) / len(taken) if taken else 0)
            scores[temperature, threshold] = round(sum(each) / len(each), 9)
    found = choose(config(), controller, 1, [str(n) for n in range(len(by_example))], 10, tries, scored=True)
    best = max(scores.values())
    assert (found["temperature"], found["threshold"]) == min(
        at for at, score in scores.items() if score == best
    )
    assert {(one["temperature"], one["threshold"]): one["score"] for one in found["grid"]} == scores


@given(st.lists(st.lists(ANY_TRY, min_size=4, max_size=4), min_size=1, max_size=4))
def test_the_best_rewarded_tries_are_those_of_brute_force(
    by_example: list[list[tuple[str, str, float | None]]],
) -> None:
    tries = [
        replace(a_try(str(name), n, text, verdict, Route.GENERATED), reward=reward or 0.0)
        for name, four in enumerate(by_example)
        for n, (text, verdict, reward) in enumerate(four)
    ]
    found = exploited([str(n) for n in range(len(by_example))], 4, tries[::-1])
    assert found is not None
    for count in (1, 2, 4):
        right = 0
        for four in by_example:
            ranked = sorted(range(4), key=lambda n: (-(four[n][2] or 0.0), n))
            right += all(four[n][1] == "correct" for n in ranked[:count])
        assert found[str(count)] == round(right / len(by_example), 6)
    assert exploited(["0"], 4, [replace(tries[0], reward=None)]) is None


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
        ({"controller": {"temperatures": [1.0, 0.5]}}, "the values ascend"),
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
