"""Rejects rationales that say the question again and then the answer."""

from __future__ import annotations

from star_engine.filters.filter_input import FilterInput
from star_engine.filters.reasoning import reasoning_text, shared_ngrams
from star_engine.tasks.reading.words import tokens


def question_copy(item: FilterInput, most: float = 0.65, n: int = 4) -> str | None:
    """The reason code, if more than `most` of the reasoning's n-grams stand in the question.

    The 7,473 human solutions of GSM8K, which do restate what they use, reach 0.55 at most.
    """
    copied = shared_ngrams(tokens(reasoning_text(item)), tokens(item.question), n)
    return "question_copy" if copied > most else None
