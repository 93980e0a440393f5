"""Rejects rationales that hold nothing but the answer: "The answer must be x. So the answer is x (b)."."""

from __future__ import annotations

from star_engine.filters.filter_input import FilterInput
from star_engine.filters.reasoning import content_words, reasoning_text


def answer_only(item: FilterInput, min_words: int = 3) -> str | None:
    """The reason code, if fewer than `min_words` words or numbers are left besides the answer's statement."""
    return "answer_only" if len(content_words(reasoning_text(item), item)) < min_words else None
