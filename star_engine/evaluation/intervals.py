"""How sure an accuracy is: bootstrap intervals of right-or-wrong outcomes, without resampling.

Each of n held-out examples is right or wrong, so the number right among n examples drawn with replacement is
binomial, and a paired difference is a sum of n draws from {-1, 0, +1}. Both distributions are computed: what
comes out is what infinitely many resamples would give, the same every time, in milliseconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb, exp, lgamma, log, sqrt

LEVEL = 0.95
_ROUNDING = 1e-12  # sums of some hundred probabilities are off by less


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


def accuracy_interval(correct: int, n: int) -> Interval:
    """95 % percentile interval of correct / n. Raises ValueError where nothing was asked.

    It has no width where all are right or all are wrong: resampling such answers brings nothing else.
    """
    _check(n, correct)
    return _percentiles(_binomial(n, correct / n), n)


def difference_interval(gained: int, lost: int, n: int) -> Interval:
    """95 % percentile interval of (gained - lost) / n when the n pairs are resampled together.

    gained, lost: pairs that only the one, or only the other, got right. Raises ValueError as above.
    """
    _check(n, gained, lost)
    moved = gained + lost
    totals: dict[int, float] = defaultdict(float)
    for drawn, weight in _binomial(n, moved / n).items():
        for up, share in _binomial(drawn, gained / moved if moved else 0.0).items():
            totals[2 * up - drawn] += weight * share
    return _percentiles(totals, n)


def sign_test(gained: int, lost: int) -> float:
    """Two-sided exact p of the pairs that differ, if each could as well have gone the other way (McNemar)."""
    moved = gained + lost
    tail = sum(comb(moved, k) for k in range(min(gained, lost) + 1))
    return float(min(1.0, 2 * tail / 2**moved))


def _check(n: int, *parts: int) -> None:
    if n < 1 or min(parts) < 0 or sum(parts) > n:
        raise ValueError(f"{parts} of {n} examples: give counts of at least one example")


def _binomial(n: int, p: float) -> Mapping[int, float]:
    """The binomial probabilities within 6 standard deviations and 10 counts: all but 1e-8 of them."""
    if p <= 0 or n == 0:
        return {0: 1.0}
    if p >= 1:
        return {n: 1.0}
    reach = 6 * sqrt(n * p * (1 - p)) + 10
    first, last = max(0, int(n * p - reach)), min(n, int(n * p + reach) + 1)
    ways = lgamma(n + 1) - lgamma(first + 1) - lgamma(n - first + 1)
    value = exp(ways + first * log(p) + (n - first) * log(1 - p))
    found = {}
    for k in range(first, last + 1):
        found[k] = value
        value *= (n - k) / (k + 1) * p / (1 - p)
    whole = sum(found.values())
    return {k: weight / whole for k, weight in found.items()}


def _percentiles(weights: Mapping[int, float], n: int) -> Interval:
    """The outermost values that leave less than half of 5 % beyond them on their side."""
    rising = sorted(weights)
    return Interval(_reached(weights, rising) / n, _reached(weights, rising[::-1]) / n)


def _reached(weights: Mapping[int, float], values: list[int]) -> int:
    passed = 0.0
    for value in values:
        passed += weights[value]
        if passed >= (1 - LEVEL) / 2 - _ROUNDING:
            return value
    return values[-1]
