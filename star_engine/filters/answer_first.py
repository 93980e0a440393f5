"""Rejects rationales that state the answer before any reasoning: what follows only justifies it."""

from __future__ import annotations

from star_engine.filters.filter_input import FilterInput
from star_engine.filters.reasoning import content_words


def answer_first(item: FilterInput, min_words: int = 3) -> str | None:
    """The reason code, if fewer than `min_words` content words stand before the answer is first stated."""
    stated = item.task.asserted_at(item.example, item.completion)
    if stated is None:
        return None
    before = item.completion[:stated]
    return "answer_first" if len(content_words(before, item)) < min_words else None
