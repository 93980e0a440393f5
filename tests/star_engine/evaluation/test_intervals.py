from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.evaluation.intervals import accuracy_interval, difference_interval, sign_test

COUNTS = st.integers(1, 300).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.just(n)).flatmap(
        lambda pair: st.tuples(st.just(pair[0]), st.integers(0, pair[1] - pair[0]), st.just(pair[1]))
    )
)


def test_interval_of_two_right_of_four_is_the_one_counted_by_hand() -> None:
    """Binomial(4, 1/2): 1, 4, 6, 4, 1 of 16. 1/16 is above 2.5 %, so the interval reaches 0 and 4."""
    found = accuracy_interval(2, 4)
    assert (found.low, found.high) == (0.0, 1.0)


def test_interval_of_five_right_of_ten_is_the_one_counted_by_hand() -> None:
    """Of 1024: 1, 10, 45, ... 11 are 1.07 % and 56 are 5.5 %, so 2.5 % are passed at 2 and at 8."""
    found = accuracy_interval(5, 10)
    assert (found.low, found.high) == (0.2, 0.8)


def test_difference_of_one_gain_in_two_is_the_one_counted_by_hand() -> None:
    """Two draws of {0, +1}: sums 0, 1, 2 with 1/4, 1/2, 1/4. It never falls below zero."""
    found = difference_interval(1, 0, 2)
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("gained", "lost", "expected"),
    [(0, 0, 1.0), (1, 1, 1.0), (5, 0, 2 / 32), (6, 0, 2 / 64), (8, 1, 2 * 10 / 512), (1, 8, 2 * 10 / 512)],
)
def test_sign_test_counts_coin_flips(gained: int, lost: int, expected: float) -> None:
    assert sign_test(gained, lost) == expected


@pytest.mark.parametrize("counts", [(0, 0), (5, 4), (-1, 4)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="give counts of at least one example"):
        accuracy_interval(*counts)


@pytest.mark.parametrize(("gained", "lost", "n"), [(60, 20, 200), (3, 1, 40), (0, 9, 100)])
def test_intervals_are_those_of_resampling(gained: int, lost: int, n: int) -> None:
    """Percentiles of 2,000 resamples of the pairs lie within one or two examples of the exact ones."""
    draw = random.Random(0)
    pairs = [1] * gained + [-1] * lost + [0] * (n - gained - lost)
    means = sorted(sum(draw.choices(pairs, k=n)) / n for _ in range(2000))
    found = difference_interval(gained, lost, n)
    slack = 1.5 / n + 0.005
    assert found.low == pytest.approx(means[50], abs=slack)
    assert found.high == pytest.approx(means[1949], abs=slack)


@given(COUNTS)
def test_interval_holds_the_difference_and_turns_with_its_sign(counts: tuple[int, int, int]) -> None:
    gained, lost, n = counts
    found, turned = difference_interval(gained, lost, n), difference_interval(lost, gained, n)
    assert -1 <= found.low <= (gained - lost) / n + 1e-9
    assert (gained - lost) / n - 1e-9 <= found.high <= 1
    assert (found.low, found.high) == (-turned.high, -turned.low)
    assert 0 < sign_test(gained, lost) == sign_test(lost, gained) <= 1


@given(COUNTS)
def test_gains_alone_are_an_accuracy(counts: tuple[int, int, int]) -> None:
    """Against a baseline that has nothing right, the difference is the accuracy itself."""
    correct, _, n = counts
    assert difference_interval(correct, 0, n) == accuracy_interval(correct, n)


def test_thousands_of_examples_keep_their_probabilities() -> None:
    """A sum over 5,000 draws that lost probability on the way would move the ends: ±1.96 standard errors."""
    found = difference_interval(1500, 1000, 5000)
    error = (2500 / 5000 - 0.1**2) ** 0.5 / 5000**0.5
    assert found.low == pytest.approx(0.1 - 1.96 * error, abs=0.001)
    assert found.high == pytest.approx(0.1 + 1.96 * error, abs=0.001)
