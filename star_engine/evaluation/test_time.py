"""Accuracy over k answers to one question: pass@k, pass^k, majority vote and best of k, exactly.

Of n recorded answers k are drawn without replacement. Each estimator here is the exact expectation over all
C(n, k) draws, in whole numbers up to one last division. So one set of n answers serves every k up to n, and
nothing depends on the order of the answers. Drawing with replacement instead, as a bootstrap does, is biased:
one right answer of four would give best-of-4 = 0.684, and it is 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from math import comb, log2


def pass_at(n: int, correct: int, k: int) -> float:
    """The share of draws in which at least one of k answers is right (Chen et al. 2021, arXiv 2107.03374)."""
    _check(n, k)
    return 1 - comb(n - correct, k) / comb(n, k)


def pass_all(n: int, correct: int, k: int) -> float:
    """The share of draws in which all k answers are right, known as pass^k."""
    _check(n, k)
    return comb(correct, k) / comb(n, k)


def best_of(scores: Sequence[float], right: Sequence[bool], k: int) -> float:
    """How often the answer with the highest of k scores is right (V-STaR, arXiv 2402.06457, equation 3).

    Of equal highest scores one is taken at random. scores, right: of each answer, in any order.
    """
    _check(len(scores), k)
    groups: dict[float, list[bool]] = {}
    for score, one in zip(scores, right, strict=True):
        groups.setdefault(score, []).append(one)
    above, total, draws = 0, 0.0, comb(len(scores), k)
    for score in sorted(groups, reverse=True):
        tied = groups[score]
        below = len(scores) - above - len(tied)
        on_top = comb(len(scores) - above, k) - comb(below, k)  # draws whose highest score is this one
        total += on_top * sum(tied) / (len(tied) * draws)
        above += len(tied)
    return min(1.0, total)


@dataclass(frozen=True, slots=True)
class Votes:
    """What a vote of k answers comes to. The four shares sum to 1."""

    right: float  # one answer has more votes than any other, and is right
    wrong: float  # the same, and it is wrong
    tied: float  # several have the most votes: no answer is given
    unparsed: float  # none of the k states an answer


def majority(answers: Sequence[str | None], right: Set[str], ks: Sequence[int]) -> dict[int, Votes]:
    """The outcomes of a majority vote (self-consistency, arXiv 2203.11171) for each k.

    answers: in normal form, None where a text states none; these take part in the draw and never in the vote.
    For an answer that c of the n texts give to win with r votes, r of its c texts are drawn, and of every
    other answer fewer than r: the number of ways is a coefficient of a product of polynomials, one for each
    other answer. The product over all answers is made once for each r, and divided by the answer's own.
    """
    for k in ks:
        _check(len(answers), k)
    counts = Counter(answer for answer in answers if answer is not None)
    silent, largest = len(answers) - counts.total(), max(ks, default=0)
    alike = Counter((count, answer in right) for answer, count in counts.items())
    won, lost = dict.fromkeys(ks, 0), dict.fromkeys(ks, 0)
    for votes in range(1, min(max(counts.values(), default=0), largest) + 1):
        reach = largest - votes
        every = _choices(silent, silent, reach)
        for (count, _), how_many in alike.items():
            for _ in range(how_many):
                every = _times(every, _choices(count, votes - 1, reach), reach)
        for (count, is_right), how_many in alike.items():
            if count < votes:
                continue
            others = _divided(every, _choices(count, votes - 1, reach))
            for k in ks:
                if k >= votes:
                    ways = how_many * comb(count, votes) * others[k - votes]
                    won[k] += ways if is_right else 0
                    lost[k] += 0 if is_right else ways
    return {k: _votes(won[k], lost[k], comb(silent, k), comb(len(answers), k)) for k in ks}


def _votes(won: int, lost: int, silent: int, draws: int) -> Votes:
    return Votes(won / draws, lost / draws, (draws - won - lost - silent) / draws, silent / draws)


def _choices(count: int, most: int, reach: int) -> list[int]:
    """The ways to draw 0, 1, ... up to `most` of `count` texts, as a polynomial up to the power `reach`."""
    return [comb(count, drawn) if drawn <= most else 0 for drawn in range(reach + 1)]


def _times(one: Sequence[int], other: Sequence[int], reach: int) -> list[int]:
    product = [0] * (reach + 1)
    for low, factor in enumerate(other):
        if factor:
            for high in range(reach + 1 - low):
                product[low + high] += factor * one[high]
    return product


def _divided(product: Sequence[int], factor: Sequence[int]) -> list[int]:
    """The other factor of a product, as far as it is known. The constant term of `factor` is 1."""
    terms = [(power, value) for power, value in enumerate(factor) if power and value]
    quotient: list[int] = []
    for power, value in enumerate(product):
        known = (factor_value * quotient[power - at] for at, factor_value in terms if at <= power)
        quotient.append(value - sum(known))
    return quotient


def _check(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"{k} of {n} answers cannot be drawn: k is between 1 and the number of answers")


def entropy_of(answers: Sequence[str | None]) -> float:
    """How spread the stated answers are, in bits; 0 where all are one, or none is stated."""
    counts = Counter(answer for answer in answers if answer is not None)
    total = counts.total()
    return sum(count / total * log2(total / count) for count in counts.values())
