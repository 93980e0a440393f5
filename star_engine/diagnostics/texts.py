"""What becomes of the rationales as texts: how varied, how long, how like the few-shot examples."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, log2
from statistics import fmean, median
from typing import Any

from star_engine.filters.dedupe import dedupe_key
from star_engine.filters.reasoning import shared_ngrams
from star_engine.sampling.rationales import Rationale
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.reading.words import tokens

# Distinct n-grams fall with the size of what is counted: iterations are compared on as many rationales each.
MOST = 1000
COMMON = 40  # words and marks, by whose shares styles are compared
_MARK = re.compile(r"[^\W\d_]+|[0-9]+|[^\w\s]|\n")


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


def style(tries: Sequence[Rationale], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """How long all tries are and which words and marks they are made of, right or wrong.

    common: the COMMON most frequent words, marks and line breaks by their share of all, every number as 0.
    drift: in bits, how far this has moved against the iteration before: the Jensen-Shannon divergence of the
    two, what is not common taken as one word; 0: the same, 1: nothing in common. before: its own figures.
    """
    finished = [one for one in tries if one.finish_reason == "stop"]
    if not finished:
        return {"tries": 0}
    counts: Counter[str] = Counter()
    for one in finished[:MOST]:
        counts.update("0" if mark[0].isdigit() else mark.lower() for mark in _MARK.findall(one.text))
    total = max(1, counts.total())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:COMMON]
    common = {word: round(count / total, 6) for word, count in ordered}
    mean = round(fmean(one.tokens for one in finished), 3)
    known = bool(before and before.get("tries"))
    return {
        "tries": len(finished),
        "mean": mean,
        "length_drift": round(mean / before["mean"] - 1, 6) if before and known and before["mean"] else None,
        "drift": round(_divergence(common, before["common"]), 6) if before and known else None,
        "common": common,
    }


def _divergence(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    """Jensen-Shannon, in bits. What a distribution leaves of 1 is one more word, the same in both."""
    both = [
        *((ours.get(word, 0.0), theirs.get(word, 0.0)) for word in ours.keys() | theirs.keys()),
        (max(0.0, 1 - sum(ours.values())), max(0.0, 1 - sum(theirs.values()))),
    ]
    parts = ((p, (p + q) / 2) for pair in both for p, q in (pair, pair[::-1]))
    return fsum(p * log2(p / mean) / 2 for p, mean in parts if p > 0)


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
