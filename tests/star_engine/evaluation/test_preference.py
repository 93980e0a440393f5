"""Blind pairs: sides and turns that say nothing, win rates over questions, and agreement above chance."""

from __future__ import annotations

from collections import Counter

import pytest

from star_engine.evaluation.intervals import accuracy_interval, sign_test
from star_engine.evaluation.preference import (
    Arm,
    Choice,
    Pair,
    Rating,
    agreement,
    make_pairs,
    result,
    turn,
)

FIRST, SECOND, TIE = Choice
TEXTS = {f"q{n}": {arm: f"{arm} says {n}" for arm in Arm} for n in range(200)}


def test_every_question_gives_a_pair_of_every_two_arms_and_sides_are_even() -> None:
    pairs = make_pairs(TEXTS, seed=1)
    assert len(pairs) == 3 * 200
    assert pairs == make_pairs(dict(reversed(TEXTS.items())), seed=1)
    assert pairs != make_pairs(TEXTS, seed=2)
    sides = Counter(pair.first for pair in pairs if {pair.first, pair.second} == {Arm.STAR, Arm.HUMAN})
    assert 70 < sides[Arm.STAR] < 130
    arms = [tuple(sorted((pair.first, pair.second))) for pair in pairs[:200]]
    assert min(Counter(arms).values()) > 40  # not one kind of pair after the other


def test_rationales_that_read_alike_make_no_pair() -> None:
    assert make_pairs({"q": {Arm.STAR: "2 + 3 = 5", Arm.HUMAN: " 2 + 3  = 5\n"}}, seed=1) == []
    assert make_pairs({"q": {Arm.STAR: "2 + 3 = 5"}}, seed=1) == []


def test_raters_have_turns_of_their_own_that_stay() -> None:
    ann, bob = turn(50, "ann", 1), turn(50, "bob", 1)
    assert sorted(ann) == sorted(bob) == list(range(50))
    assert ann == turn(50, "ann", 1) != bob


def pairs(count: int) -> list[Pair]:
    return [Pair(f"q{n}", *((Arm.STAR, Arm.HUMAN) if n % 2 else (Arm.HUMAN, Arm.STAR))) for n in range(count)]


def prefers(pair: Pair, arm: Arm) -> Choice:
    return FIRST if pair.first is arm else SECOND


def test_a_question_counts_once_however_many_raters_agree() -> None:
    shown = pairs(12)
    ratings = [
        Rating(place, rater, prefers(pair, Arm.STAR if place < 9 else Arm.HUMAN))
        for place, pair in enumerate(shown)
        for rater in ("ann", "bob", "cy")
    ]
    found = result(shown, ratings)
    assert (found.ratings, found.raters) == (36, 3)
    [rate] = found.win_rates
    assert (rate.arm, rate.over, rate.wins, rate.losses, rate.ties) == (Arm.STAR, Arm.HUMAN, 9, 3, 0)
    assert rate.interval == accuracy_interval(9, 12)
    assert rate.p_value == sign_test(9, 3)
    assert (found.agreement.percent, found.agreement.kappa) == (1.0, 1.0)


def test_the_newest_rating_of_a_rater_counts_and_a_split_vote_is_a_tie() -> None:
    shown = pairs(1)
    ratings = [
        Rating(0, "ann", prefers(shown[0], Arm.HUMAN)),
        Rating(0, "ann", prefers(shown[0], Arm.STAR)),
        Rating(0, "bob", TIE),
    ]
    [rate] = result(shown, ratings).win_rates
    assert (rate.wins, rate.losses, rate.ties) == (1, 0, 0)
    [rate] = result(shown, [*ratings, Rating(0, "cy", prefers(shown[0], Arm.HUMAN))]).win_rates
    assert (rate.wins, rate.losses, rate.ties, rate.rate, rate.p_value) == (0, 0, 1, None, None)


def test_kappa_is_that_of_fleiss_own_form() -> None:
    """Three raters, four pairs: P = (1 + 1/3 + 1/3 + 1) / 4, shares 7/12 and 5/12."""
    rated = [[FIRST] * 3, [FIRST, FIRST, SECOND], [FIRST, FIRST, SECOND], [SECOND] * 3]
    found = agreement(rated)
    expected = (7 / 12) ** 2 + (5 / 12) ** 2
    assert found.percent == pytest.approx(2 / 3)
    assert found.kappa == pytest.approx((2 / 3 - expected) / (1 - expected))


def test_agreement_that_cannot_be_told_is_null() -> None:
    assert agreement([[FIRST], [SECOND]]).percent is None
    assert agreement([[FIRST, FIRST], [FIRST, FIRST]]).kappa is None
