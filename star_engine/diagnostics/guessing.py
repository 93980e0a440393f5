"""How many answers a model gets right that knows nothing, and how many kept rationales are such luck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from star_engine.diagnostics.spark import chance_level, without_the_first
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, folded
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of
from star_engine.tasks.verdict import VerdictCode

FAILED = frozenset({VerdictCode.WRONG, VerdictCode.UNPARSED, VerdictCode.AMBIGUOUS})


@dataclass(frozen=True, slots=True)
class Luck:
    """Counts over the generated rationales that were kept."""

    chance: float  # share of these examples that a guess answers right
    kept: int
    expected_lucky: float
    precision: float | None  # share of the kept that is not expected to be luck; None: nothing was kept


def guess_rates(kind: Kind, examples: Sequence[Example]) -> dict[str, float]:
    """Example id to the chance that a guess is right: see `star_engine.diagnostics.spark.Guesses`."""
    known = {example.id: task_of(kind).guess_chance(example) for example in examples}
    answers = Counter(folded(example.answer) for example in examples if known[example.id] is None)
    common = without_the_first(max(answers.values(), default=0)) / max(answers.total(), 1)
    return {name: common if chance is None else chance for name, chance in known.items()}


def luck(
    kind: Kind, examples: Sequence[Example], tries: Iterable[Rationale], kept: set[RationaleKey]
) -> Luck:
    """The correction for guessing: each try that is not right is a guess that failed.

    A guess that is right with chance g fails with 1 - g, so every one that failed stands for g / (1 - g)
    lucky ones among the correct. The unparsed and ambiguous have failed as well: a model that guesses writes
    those, too, and without them a run below chance looks half understood. What of the lucky is kept is taken
    to be their even share. The rationalized are left out: they had the answer before them, and whether it is
    right says nothing.
    """
    rates = guess_rates(kind, examples)
    correct = lucky = 0.0
    trained = 0
    for one in tries:
        if one.key.route is not Route.GENERATED:
            continue
        trained += one.key in kept
        rate = rates[one.key.example_id]
        if one.verdict == VerdictCode.CORRECT:
            correct += 1
        elif one.verdict in FAILED and rate < 1:
            lucky += rate / (1 - rate)
    share = min(1.0, lucky / correct) if correct else 0.0
    return Luck(
        round(chance_level(kind, examples), 6),
        trained,
        round(share * trained, 3),
        round(1 - share, 6) if trained else None,
    )


def solved_again(taught: Iterable[str], tries: Iterable[Rationale]) -> Mapping[str, int | float | None]:
    """Rationalization yield: of the examples that were trained on with a rationalized rationale, how many
    are now asked again without the hint, and solved."""
    ids = set(taught)
    solved: dict[str, bool] = {}
    for one in tries:
        if one.key.route is Route.GENERATED and one.key.example_id in ids:
            right = one.verdict == VerdictCode.CORRECT
            solved[one.key.example_id] = solved.get(one.key.example_id, False) or right
    share = round(sum(solved.values()) / len(solved), 6) if solved else None
    return {"taught": len(ids), "asked": len(solved), "solved": sum(solved.values()), "share": share}
