"""The closed forms are the averages over all draws, which are counted out here one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.evaluation.test_time import (
    Votes,
    best_of,
    entropy_of,
    majority,
    pass_all,
    pass_at,
)

ANSWERS = st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=9)
SCORED = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=9)


def over_draws(n: int, k: int, value: Callable[[Sequence[int]], float]) -> float:
    draws = list(combinations(range(n), k))
    return sum(map(value, draws)) / len(draws)


def vote(answers: Sequence[str | None]) -> str | None:
    """The answer with most votes, "tied" or None."""
    counts = Counter(answer for answer in answers if answer is not None)
    if not counts:
        return None
    first = [answer for answer, count in counts.items() if count == max(counts.values())]
    return first[0] if len(first) == 1 else "tied"


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_pass_at_k_and_pass_all_k_are_the_averages_over_all_draws(right: list[bool]) -> None:
    n, correct = len(right), sum(right)
    for k in range(1, n + 1):
        any_right = over_draws(n, k, lambda drawn: any(right[i] for i in drawn))
        all_right = over_draws(n, k, lambda drawn: all(right[i] for i in drawn))
        assert pass_at(n, correct, k) == pytest.approx(any_right, abs=1e-12)
        assert pass_all(n, correct, k) == pytest.approx(all_right, abs=1e-12)


@given(SCORED)
def test_best_of_k_is_the_average_over_all_draws_with_equal_scores_drawn_at_random(
    scored: list[tuple[int, bool]],
) -> None:
    scores, right = [float(score) for score, _ in scored], [one for _, one in scored]

    def chosen(drawn: Sequence[int]) -> float:
        top = max(scores[i] for i in drawn)
        tied = [right[i] for i in drawn if scores[i] == top]
        return sum(tied) / len(tied)

    for k in range(1, len(scored) + 1):
        expected = over_draws(len(scored), k, chosen)
        assert best_of(scores, right, k) == pytest.approx(expected, abs=1e-12)


@given(ANSWERS, st.sets(st.sampled_from(["a", "b"])))
def test_majority_at_k_is_the_average_over_all_draws_with_ties_and_unparsed_apart(
    answers: list[str | None], right: set[str]
) -> None:
    ks = range(1, len(answers) + 1)
    found = majority(answers, right, ks)
    for k in ks:
        votes = [vote([answers[i] for i in drawn]) for drawn in combinations(range(len(answers)), k)]
        share = {
            "right": sum(one in right for one in votes),
            "wrong": sum(one not in (None, "tied") and one not in right for one in votes),
            "tied": votes.count("tied"),
            "unparsed": votes.count(None),
        }
        for name, count in share.items():
            assert getattr(found[k], name) == pytest.approx(count / len(votes), abs=1e-12)


def test_one_right_answer_of_four_is_always_found_among_four() -> None:
    assert best_of([4.0, 3.0, 2.0, 1.0], [True, False, False, False], 4) == 1.0
    assert pass_at(4, 1, 4) == 1.0


def test_the_order_of_answers_does_not_break_a_tie() -> None:
    tied = Votes(right=0.0, wrong=0.0, tied=1.0, unparsed=0.0)
    assert majority(["a", "b"], {"a"}, [2]) == majority(["b", "a"], {"a"}, [2]) == {2: tied}


def test_a_vote_falls_with_k_where_the_mistake_is_the_mode() -> None:
    answers = ["wrong"] * 10 + ["right"] * 6
    found = majority(answers, {"right"}, [1, 4, 16])
    assert found[1].right == pytest.approx(6 / 16)
    assert found[1].right > found[4].right > found[16].right == 0.0


def test_256_answers_of_many_kinds_are_voted_on_exactly() -> None:
    answers = [f"answer {n * n % 61}" for n in range(256)]
    for votes in majority(answers, {"answer 0"}, [1, 16, 256]).values():
        assert votes.right + votes.wrong + votes.tied + votes.unparsed == pytest.approx(1.0)


@pytest.mark.parametrize("k", [0, 5])
def test_more_answers_than_there_are_cannot_be_drawn(k: int) -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        pass_at(4, 1, k)


def test_entropy_is_that_of_the_stated_answers() -> None:
    assert entropy_of(["a", "b", None]) == pytest.approx(1.0)
    assert entropy_of([None]) == entropy_of(["a", "a"]) == 0.0
