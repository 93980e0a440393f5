"""Rejects rationales that reason in fewer words than a rationale needs."""

from __future__ import annotations

from star_engine.filters.filter_input import FilterInput
from star_engine.filters.reasoning import reasoning_text
from star_engine.tasks.reading.words import tokens


def too_short(item: FilterInput) -> str | None:
    """The reason code, if fewer words than `least_words` (numbers too) stand outside the answer's statement.

    The shortest of the 7,473 human solutions of GSM8K holds 8, a scratchpad of one digit 9.
    """
    return "too_short" if len(tokens(reasoning_text(item))) < item.least_words else None
