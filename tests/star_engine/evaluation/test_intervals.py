"""Coverage is counted exactly, over all outcomes, not simulated: it has no luck of its own."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb, exp, lgamma, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.evaluation.intervals import (
    accuracy_interval,
    difference_interval,
    level_for_best_of,
    mean_interval,
    sign_test,
)

COUNTS = st.integers(1, 300).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.just(n)).flatmap(
        lambda pair: st.tuples(st.just(pair[0]), st.integers(0, pair[1] - pair[0]), st.just(pair[1]))
    )
)
NEAR_THE_ENDS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
SHARES = (0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.97, 0.995, 1.0)


def tail(n: int, p: float, counts: range) -> float:
    return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in counts)


@pytest.mark.parametrize(("correct", "n"), [(1, 64), (5, 10), (3, 20), (63, 64), (188, 189), (100, 200)])
@pytest.mark.parametrize("level", [0.95, 0.998])
def test_limits_of_an_accuracy_leave_half_the_rest_on_each_side(correct: int, n: int, level: float) -> None:
    """The definition: at the limit, as many or more (as few or fewer) right come up with (1 - level) / 2."""
    found = accuracy_interval(correct, n, level)
    assert tail(n, found.low, range(correct, n + 1)) == pytest.approx((1 - level) / 2)
    assert tail(n, found.high, range(correct + 1)) == pytest.approx((1 - level) / 2)


def test_none_or_all_right_leave_room_for_what_was_not_asked() -> None:
    assert accuracy_interval(0, 20).low == 0.0
    assert accuracy_interval(0, 20).high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert accuracy_interval(20, 20).low == pytest.approx(0.025 ** (1 / 20))
    assert difference_interval(1, 0, 1).low < 0 < difference_interval(1, 0, 1).high


@pytest.mark.parametrize("n", [20, 64, 75, 100, 189, 200])
@pytest.mark.parametrize("p", NEAR_THE_ENDS)
def test_accuracy_intervals_cover_at_their_level(n: int, p: float) -> None:
    held = 0.0
    for correct in range(n + 1):
        found = accuracy_interval(correct, n)
        if found.low <= p <= found.high:
            held += comb(n, correct) * p**correct * (1 - p) ** (n - correct)
    assert held >= 0.95


@pytest.mark.parametrize("n", [20, 30, 64, 100, 200])
def test_difference_intervals_cover_at_their_level(n: int) -> None:
    """Over shares gained and lost from none to all: never below 0.935, where 0.95 is written."""
    found = {
        (up, down): difference_interval(up, down, n) for up in range(n + 1) for down in range(n + 1 - up)
    }
    shares = [(up, down) for up in SHARES for down in SHARES if down <= up and up + down <= 1]
    for up, down in shares:
        held = sum(
            weight
            for counts, weight in outcomes(n, up, down)
            if found[counts].low <= up - down + 1e-12 and up - down - 1e-12 <= found[counts].high
        )
        assert held >= 0.935, (up, down)


def outcomes(n: int, up: float, down: float) -> Iterator[tuple[tuple[int, int], float]]:
    """(gained, lost) and its probability; what is rarer than 1e-12 is left out."""
    logs = [log(share) if share > 0 else None for share in (up, down, max(0.0, 1 - up - down))]
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            counts = (gained, lost, n - gained - lost)
            if any(count and one is None for count, one in zip(counts, logs, strict=True)):
                continue
            weight = lgamma(n + 1) - sum(lgamma(count + 1) for count in counts)
            weight += sum(count * (one or 0.0) for count, one in zip(counts, logs, strict=True))
            if weight > -28:
                yield (gained, lost), exp(weight)


@pytest.mark.parametrize("level", [0.95, level_for_best_of(5), level_for_best_of(30)])
@pytest.mark.parametrize("n", [5, 20, 64, 120])
def test_the_interval_holds_zero_exactly_where_the_sign_test_does_not_reject(n: int, level: float) -> None:
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            found = difference_interval(gained, lost, n, level)
            assert (found.low <= 0 <= found.high) == (sign_test(gained, lost) >= 1 - level), (gained, lost)


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


@given(COUNTS)
def test_interval_holds_the_difference_and_turns_with_its_sign(counts: tuple[int, int, int]) -> None:
    gained, lost, n = counts
    found, turned = difference_interval(gained, lost, n), difference_interval(lost, gained, n)
    assert -1 <= found.low <= (gained - lost) / n + 1e-9
    assert (gained - lost) / n - 1e-9 <= found.high <= 1
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low))
    assert 0 < sign_test(gained, lost) == sign_test(lost, gained) <= 1


@given(COUNTS)
def test_more_certainty_takes_more_room(counts: tuple[int, int, int]) -> None:
    gained, lost, n = counts
    usual, surer = difference_interval(gained, lost, n), difference_interval(gained, lost, n, 0.998)
    assert surer.low <= usual.low <= usual.high <= surer.high


def test_thousands_of_examples_come_to_the_normal_interval() -> None:
    found = difference_interval(1500, 1000, 5000)
    error = (2500 / 5000 - 0.1**2) ** 0.5 / 5000**0.5
    assert found.low == pytest.approx(0.1 - 1.96 * error, abs=0.001)
    assert found.high == pytest.approx(0.1 + 1.96 * error, abs=0.001)


def test_the_interval_of_a_mean_is_students() -> None:
    """t of 2 degrees of freedom is 4.3027 at 97.5 %, of 9 it is 2.2622."""
    three = mean_interval([1.0, 2.0, 3.0])
    assert (three.low, three.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-5)
    ten = [float(n) for n in range(10)]
    error = (sum((value - 4.5) ** 2 for value in ten) / 9 / 10) ** 0.5
    assert mean_interval(ten).high == pytest.approx(4.5 + 2.262157 * error, abs=1e-5)
    with pytest.raises(ValueError, match="two or more"):
        mean_interval([0.5])
