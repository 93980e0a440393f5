"""What becomes of the rationales as texts: how varied, how long, how like the few-shot examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median

from star_engine.filters.dedupe import dedupe_key
from star_engine.filters.reasoning import shared_ngrams
from star_engine.sampling.rationales import Rationale
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.reading.words import tokens

# Distinct n-grams fall with the size of what is counted: iterations are compared on as many rationales each.
MOST = 1000


def diversity(kept: Sequence[Rationale], correct: Iterable[Rationale]) -> dict[str, float | None]:
    """distinct_n: different n-grams by all n-grams of at most MOST kept rationales, 1 where none repeats.

    solutions_per_example: different correct texts by examples that have one, case and white space folded.
    """
    words = [tokens(one.text) for one in kept[:MOST]]
    solutions: dict[str, set[str]] = defaultdict(set)
    for one in correct:
        solutions[one.key.example_id].add(dedupe_key(one.text))
    per_example = round(fmean(map(len, solutions.values())), 6) if solutions else None
    found = {f"distinct_{n}": _distinct(words, n) for n in (1, 2, 3)}
    return {**found, "solutions_per_example": per_example}


def _distinct(texts: Sequence[Sequence[str]], n: int) -> float | None:
    grams = [tuple(words[at : at + n]) for words in texts for at in range(len(words) - n + 1)]
    return round(len(set(grams)) / len(grams), 6) if grams else None


def length(kept: Sequence[Rationale], before: float | None) -> dict[str, float | None]:
    """Tokens of the kept rationales. drift: the mean against the one of the iteration before, 0 if level."""
    counts = [one.tokens for one in kept]
    if not counts:
        return {"mean": None, "median": None, "drift": None}
    mean = fmean(counts)
    drift = round(mean / before - 1, 6) if before else None
    return {"mean": round(mean, 3), "median": float(median(counts)), "drift": drift}


def few_shot_similarity(
    prompt_set: PromptSet, examples: Mapping[str, Example], kept: Sequence[Rationale], n: int = 4
) -> float | None:
    """Mean share of a kept rationale's n-grams that stand in the few-shot rationale most like it."""
    shown: dict[str | None, list[list[str]]] = {}
    shares = []
    for one in kept[:MOST]:
        group = examples[one.key.example_id].group
        if group not in shown:
            shown[group] = [tokens(example.rationale) for example in prompt_set.for_group(group)]
        words = tokens(one.text)
        shares.append(max((shared_ngrams(words, other, n) for other in shown[group]), default=0.0))
    return round(fmean(shares), 6) if shares else None
