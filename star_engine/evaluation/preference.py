"""A blind study of rationales, after the paper's study with crowdworkers: pairs, and what raters prefer.

Raters see two rationales of one question, A and B. Which comes first follows from the seed, the question and
the rater's turn alone, so that it is the same whenever it is looked at and differs from pair to pair.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from star_engine.data.selection import chance
from star_engine.evaluation.intervals import Interval, accuracy_interval, sign_test


class Arm(StrEnum):
    """Who wrote a rationale."""

    FEW_SHOT = "few_shot"  # the base model, with few-shot examples
    STAR = "star"  # a job's adapter
    HUMAN = "human"  # the dataset's worked solution


class Choice(StrEnum):
    """What a rater prefers of what is shown."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rationales of one question, in the order in which they are shown."""

    example_id: str
    first: Arm
    second: Arm

    def of(self, choice: Choice) -> Arm | None:
        """Whose rationale a choice prefers; None: neither."""
        return {Choice.FIRST: self.first, Choice.SECOND: self.second}.get(choice)


@dataclass(frozen=True, slots=True)
class Rating:
    """One rater's choice. `pair`: the place of the pair in the study."""

    pair: int
    rater: str
    choice: Choice


@dataclass(frozen=True, slots=True)
class WinRate:
    """How often one arm is preferred to another, of the questions on which most raters prefer either.

    A question counts once, by the majority of its raters, so that raters who agree make no evidence of their
    own; `ties` are questions without one. The interval is exact, p that of the sign test.
    """

    arm: Arm
    over: Arm
    wins: int
    losses: int
    ties: int
    rate: float | None
    interval: Interval | None
    p_value: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far raters agree on the pairs that several have rated."""

    pairs: int  # with two ratings or more
    percent: float | None  # share of the pairs of raters that agree, mean over pairs of rationales
    kappa: float | None  # Fleiss', above chance; null where chance alone would make all agree


@dataclass(frozen=True, slots=True)
class StudyResult:
    ratings: int
    raters: int
    win_rates: tuple[WinRate, ...]
    agreement: Agreement


def make_pairs(rationales: Mapping[str, Mapping[Arm, str]], seed: int) -> list[Pair]:
    """Every pair of arms of every question that has both, in an order and with sides that the seed decides.

    rationales: by question, then arm. Two rationales that read alike make no pair.
    """
    pairs = [
        _sided(example, one, other, seed)
        for example, texts in rationales.items()
        for one, other in combinations(sorted(texts), 2)
        if _words(texts[one]) != _words(texts[other])
    ]
    return sorted(pairs, key=lambda pair: chance(seed, 0, "study", f"{pair.example_id}/{_arms(pair)}"))


def turn(pairs: int, rater: str, seed: int) -> list[int]:
    """The places of the pairs in the order in which this rater sees them."""
    return sorted(range(pairs), key=lambda place: chance(seed, 0, f"turn {rater}", str(place)))


def result(pairs: Sequence[Pair], ratings: Iterable[Rating]) -> StudyResult:
    """What the raters prefer. The newest rating of a rater of a pair counts."""
    newest = {(one.pair, one.rater): one for one in ratings}
    by_pair: dict[int, list[Choice]] = defaultdict(list)
    for one in newest.values():
        by_pair[one.pair].append(one.choice)
    return StudyResult(
        ratings=len(newest),
        raters=len({rater for _, rater in newest}),
        win_rates=tuple(_win_rates(pairs, by_pair)),
        agreement=agreement(list(by_pair.values())),
    )


def agreement(rated: Sequence[Sequence[Choice]]) -> Agreement:
    """`rated`: the choices of each pair's raters. Pairs with a single one are left out.

    Fleiss' kappa (Psychological Bulletin 76, 1971), with as many raters for each pair as it has.
    """
    several = [Counter(choices) for choices in rated if len(choices) > 1]
    if not several:
        return Agreement(0, None, None)
    observed = [_agreeing(counts) for counts in several]
    whole: Counter[Choice] = sum(several, Counter())
    expected = sum((count / whole.total()) ** 2 for count in whole.values())
    mean = sum(observed) / len(observed)
    return Agreement(len(several), mean, None if expected >= 1 else (mean - expected) / (1 - expected))


def _agreeing(counts: Counter[Choice]) -> float:
    """The share of the pairs of raters that chose alike."""
    n = counts.total()
    return sum(count * (count - 1) for count in counts.values()) / (n * (n - 1))


def _win_rates(pairs: Sequence[Pair], by_pair: Mapping[int, Sequence[Choice]]) -> Iterator[WinRate]:
    outcomes: dict[tuple[Arm, Arm], Counter[Arm | None]] = defaultdict(Counter)
    for place, choices in by_pair.items():
        pair = pairs[place]
        votes = Counter(pair.of(choice) for choice in choices)
        votes.pop(None, None)
        outcomes[_arms(pair)][_most(votes)] += 1
    for (one, other), counts in sorted(outcomes.items()):
        wins, losses = counts[one], counts[other]
        decided = wins + losses
        yield WinRate(
            arm=one,
            over=other,
            wins=wins,
            losses=losses,
            ties=counts[None],
            rate=wins / decided if decided else None,
            interval=accuracy_interval(wins, decided) if decided else None,
            p_value=sign_test(wins, losses) if decided else None,
        )


def _most(votes: Counter[Arm | None]) -> Arm | None:
    """Whom more raters prefer than any other; None where nobody is."""
    ranked = votes.most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def _arms(pair: Pair) -> tuple[Arm, Arm]:
    """The two arms in an order of their own: STaR first, where it takes part."""
    one, other = sorted((pair.first, pair.second), key=[Arm.STAR, Arm.FEW_SHOT, Arm.HUMAN].index)
    return one, other


def _sided(example: str, one: Arm, other: Arm, seed: int) -> Pair:
    swapped = chance(seed, 0, "side", f"{example}/{one}/{other}") < 0.5
    return Pair(example, other, one) if swapped else Pair(example, one, other)


def _words(text: str) -> str:
    return " ".join(text.split()).casefold()
