"""Preference pairs from recorded tries: right and wrong answers to a question (V-STaR, arXiv 2402.06457).

The paper pairs right with wrong tries and does not say how many. Here a question gives at most so many pairs,
of texts that differ in more than case and white space, and no text is in many more of them than another.
Tries that state no answer, or were cut off, are no wrong ones: against them a model learns that an answer is
stated, which it knows. Rationalized tries are no right ones: they were written with the answer in view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from star_engine.data.selection import chance
from star_engine.sampling.rationales import Rationale, Route
from star_engine.tasks.verdict import VerdictCode


@dataclass(frozen=True, slots=True)
class TriedPair:
    """Two tries at one question."""

    chosen: Rationale
    rejected: Rationale


@dataclass(frozen=True, slots=True)
class DrawnPairs:
    """The pairs, and why other questions gave none: figures that explain a verifier that learns nothing."""

    pairs: tuple[TriedPair, ...]
    all_right: int  # questions without a wrong try
    all_wrong: int  # questions without a right one


def draw_pairs(
    examples: Sequence[str], tries: Iterable[Rationale], per_example: int, seed: int
) -> DrawnPairs:
    """Pairs in the order of the examples; the same for the same tries and seed, in whatever order they come.

    examples: ids, in order. per_example: pairs of one question at most.
    """
    right: dict[str, dict[str, Rationale]] = {name: {} for name in examples}
    wrong: dict[str, dict[str, Rationale]] = {name: {} for name in examples}
    for one in sorted(tries, key=lambda one: (one.key.example_id, one.key.route, one.key.sample)):
        if one.key.route is not Route.GENERATED or one.key.example_id not in right:
            continue
        if one.verdict == VerdictCode.CORRECT:
            right[one.key.example_id].setdefault(_folded(one.text), one)
        elif one.verdict == VerdictCode.WRONG and one.finish_reason == "stop":
            wrong[one.key.example_id].setdefault(_folded(one.text), one)
    pairs = [
        pair
        for name in examples
        for pair in _of_example(list(right[name].values()), list(wrong[name].values()), per_example, seed)
    ]
    return DrawnPairs(
        pairs=tuple(pairs),
        all_right=sum(bool(right[name]) and not wrong[name] for name in examples),
        all_wrong=sum(bool(wrong[name]) and not right[name] for name in examples),
    )


def _of_example(
    right: Sequence[Rationale], wrong: Sequence[Rationale], most: int, seed: int
) -> Iterator[TriedPair]:
    """In a drawn order; no text in more pairs than an even share of them would need."""
    every = [TriedPair(*two) for two in product(right, wrong)]
    wanted = min(most, len(every))
    if not wanted:
        return
    share = -(-wanted // min(len(right), len(wrong)))
    used: Counter[tuple[str, int]] = Counter()
    every.sort(key=lambda pair: _drawn(pair, seed))
    for pair in every:
        two = [("right", pair.chosen.key.sample), ("wrong", pair.rejected.key.sample)]
        if wanted and all(used[one] < share for one in two):
            used.update(two)
            wanted -= 1
            yield pair


def _drawn(pair: TriedPair, seed: int) -> float:
    samples = f"{pair.chosen.key.sample}/{pair.rejected.key.sample}"
    return chance(seed, 0, f"pair/{samples}", pair.chosen.key.example_id)


def _folded(text: str) -> str:
    """What texts that differ in case and white space alone have in common."""
    return " ".join(text.split()).casefold()
