"""Preference pairs from recorded tries: right and wrong answers to a question (V-STaR, arXiv 2402.06457).

The paper pairs right with wrong tries and does not say how many. Here a question gives at most so many pairs,
of distinct solutions, and no text is in many more of them than another. Tries that state no answer, or were
cut off, are no wrong ones unless asked for: against them a model learns that an answer is stated, which it
knows. Rationalized tries are no right ones: they were written with the answer in view.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import product
from typing import Any

from star_engine.config.pairs import PairRules
from star_engine.data.selection import chance
from star_engine.evaluation.solution_key import solution_key
from star_engine.sampling.labels import OUTVOTED
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.verdict import VerdictCode

_CALCULATIONS = 2  # that tell two solutions apart: a single one says too little of how it was arrived at
_WRONG = (VerdictCode.WRONG, OUTVOTED)
_UNREAD = (VerdictCode.UNPARSED, VerdictCode.AMBIGUOUS)


@dataclass(frozen=True, slots=True)
class TryKey:
    """A try of a run: its iteration and its key in it."""

    iteration: int
    key: RationaleKey


@dataclass(frozen=True, slots=True)
class Tried:
    """A try and the iteration that it was made in."""

    iteration: int
    rationale: Rationale
    answer: str | None = None  # in normal form, where votes are counted

    @property
    def key(self) -> TryKey:
        return TryKey(self.iteration, self.rationale.key)


@dataclass(frozen=True, slots=True)
class TriedPair:
    """Two tries at one question."""

    chosen: Tried
    rejected: Tried
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class DrawnPairs:
    """The pairs, and why other questions gave none: figures that explain a verifier that learns nothing."""

    pairs: tuple[TriedPair, ...]
    all_right: int  # questions without a wrong try
    all_wrong: int  # questions without a right one


@dataclass(frozen=True, slots=True)
class PairRow:
    """A pair as it is recorded and learned: two completions behind one prompt."""

    position: int
    chosen: TryKey
    rejected: TryKey
    prompt: str
    chosen_text: str
    rejected_text: str
    held_out: bool = False  # it is measured on, and not learned
    weight: float = 1.0
    reference_chosen: float | None = None  # logarithm of its probability; None: not asked for yet
    reference_rejected: float | None = None

    @property
    def is_scored(self) -> bool:
        return self.reference_chosen is not None and self.reference_rejected is not None


def draw_pairs(examples: Sequence[str], tries: Iterable[Tried], rules: PairRules, seed: int) -> DrawnPairs:
    """Pairs in the order of the examples; the same for the same tries and seed, in whatever order they come.

    examples: ids, in order. Of tries with the same solution the first one of the newest iteration stays.
    """
    right: dict[str, dict[str, Tried]] = {name: {} for name in examples}
    wrong: dict[str, dict[str, Tried]] = {name: {} for name in examples}
    for one in sorted(tries, key=_newest_first):
        name = one.rationale.key.example_id
        if one.rationale.key.route is not Route.GENERATED or name not in right:
            continue
        if one.rationale.verdict == VerdictCode.CORRECT:
            right[name].setdefault(solution_key(one.rationale.text, least=_CALCULATIONS), one)
        elif _is_wrong(one.rationale, rules):
            wrong[name].setdefault(solution_key(one.rationale.text, least=_CALCULATIONS), one)
    pairs = [
        pair
        for name in examples
        for pair in _of_example(list(right[name].values()), list(wrong[name].values()), rules, seed)
    ]
    return DrawnPairs(
        pairs=tuple(pairs),
        all_right=sum(bool(right[name]) and not wrong[name] for name in examples),
        all_wrong=sum(bool(wrong[name]) and not right[name] for name in examples),
    )


def draw_voted(
    examples: Sequence[str],
    judged: Sequence[Tried],
    kept: Collection[RationaleKey],
    rules: PairRules,
    seed: int,
) -> DrawnPairs:
    """Pairs of the answer that most tries give with the one that fewest give (ScPO, arXiv 2411.04109).

    judged: all tries of one iteration, judged by the vote; of the right ones those in `kept` are paired, the
    others count as votes all the same. A pair weighs the share of its question's tries by which the one
    answer leads the other: where the model is not sure, little is learned.
    """
    votes: Counter[tuple[str, str | None]] = Counter()
    total: Counter[str] = Counter()
    for one in judged:
        total[one.rationale.key.example_id] += 1
        if one.rationale.verdict in (VerdictCode.CORRECT, *_WRONG):
            votes[_vote(one)] += 1
    fewest: dict[str, int] = {}
    for one in judged:
        if one.rationale.verdict not in _WRONG:
            continue
        name = one.rationale.key.example_id
        fewest[name] = min(votes[_vote(one)], fewest.get(name, votes[_vote(one)]))
    rarest = [
        one
        for one in judged
        if one.rationale.verdict not in _WRONG or votes[_vote(one)] == fewest[one.rationale.key.example_id]
    ]
    drawn = draw_pairs(examples, without_unkept(rarest, kept), rules, seed)
    weighed = tuple(replace(pair, weight=_lead(pair, votes, total)) for pair in drawn.pairs)
    return replace(drawn, pairs=weighed)


def without_unkept(tries: Iterable[Tried], kept: Collection[RationaleKey]) -> list[Tried]:
    """The tries of one iteration without the right ones that its training set does not hold."""
    return [one for one in tries if one.rationale.verdict != VerdictCode.CORRECT or one.key.key in kept]


def _vote(one: Tried) -> tuple[str, str | None]:
    """Which answer of its question a try gives, "1,000" the same as 1000; all that are right give one."""
    tried = one.rationale
    right = tried.verdict == VerdictCode.CORRECT
    return tried.key.example_id, None if right else one.answer or tried.extracted


def _lead(pair: TriedPair, votes: Counter[tuple[str, str | None]], total: Counter[str]) -> float:
    tries = total[pair.chosen.rationale.key.example_id]
    return round((votes[_vote(pair.chosen)] - votes[_vote(pair.rejected)]) / tries, 6)


def pairs_sha256(rows: Iterable[PairRow]) -> str:
    """SHA-256 of the pairs as JSON lines, without what the reference model says of them."""
    digest = sha256()
    for row in rows:
        digest.update(f"{json.dumps(pair_fields(row), ensure_ascii=False)}\n".encode())
    return digest.hexdigest()


def pair_fields(row: PairRow) -> dict[str, Any]:
    """A pair without the reference's numbers, as plain JSON."""
    return {
        "example_id": row.chosen.key.example_id,
        "chosen_try": [row.chosen.iteration, row.chosen.key.sample],
        "rejected_try": [row.rejected.iteration, row.rejected.key.sample],
        "prompt": row.prompt,
        "chosen": row.chosen_text,
        "rejected": row.rejected_text,
        "held_out": row.held_out,
        "weight": row.weight,
    }


def _newest_first(one: Tried) -> tuple[str, int, str, int]:
    key = one.rationale.key
    return key.example_id, -one.iteration, key.route, key.sample


def _is_wrong(one: Rationale, rules: PairRules) -> bool:
    if one.verdict in _WRONG:
        return one.finish_reason == "stop" or rules.negatives == "all"
    return rules.negatives == "all" and one.verdict in _UNREAD and bool(one.text.strip())


def _of_example(
    right: Sequence[Tried], wrong: Sequence[Tried], rules: PairRules, seed: int
) -> Iterator[TriedPair]:
    """In a drawn order; no text in more pairs than an even share of them would need."""
    every = [TriedPair(*two) for two in product(right, wrong)]
    wanted = min(rules.per_example, len(every))
    if not wanted:
        return
    share = -(-wanted // min(len(right), len(wrong)))
    used: Counter[tuple[str, TryKey]] = Counter()
    every.sort(key=lambda pair: _drawn(pair, seed))
    for pair in every:
        two = [("right", pair.chosen.key), ("wrong", pair.rejected.key)]
        if wanted and all(used[one] < share for one in two):
            used.update(two)
            wanted -= 1
            yield pair


def _drawn(pair: TriedPair, seed: int) -> float:
    tries = (pair.chosen.key, pair.rejected.key)
    named = "/".join(f"{one.iteration}.{one.key.sample}" for one in tries)
    return chance(seed, 0, f"pair/{named}", pair.chosen.rationale.key.example_id)
