"""Rejects rationales that speak of the hint: what they argue from is not in the question."""

from __future__ import annotations

import re

from star_engine.filters.filter_input import FilterInput
from star_engine.tasks.exact import fold
from star_engine.tasks.reading.words import tokens

_STORY = r"(?!\s+(?:in|by)\s+(?:the|this)\s+(?:question|problem|text|story|passage|task))"
_MARKERS = re.compile(
    r"\(\s*correct\s*\)|\[\s*given\s*\]|\b(?:the|a|this|our)\s+hint\b|\bhint(?:ed|s)?\s*:"
    r"|\bcorrect\s+(?:answer|choice|option)\s+(?:is|was|has\s+been)\s+(?:already\s+)?(?:given|marked|shown|provided)"
    r"|\b(?:answer|choice|option)\s+(?:that\s+)?(?:(?:is|was|has\s+been)\s+)?"
    r"(?:given|marked|shown|labell?ed|indicated|provided)\s+(?:as\s+correct|to\s+(?:be\s+correct|us)|above|here)"
    rf"|\bas\s+(?:is\s+|was\s+|already\s+)?(?:given|stated|indicated|marked|hinted|told|shown\s+above)\b{_STORY}"
    rf"|\bwe\s+(?:are|were|have\s+been)\s+(?:told|given)\b{_STORY}"
    r"|\b(?:since|because|given\s+that|knowing\s+that|we\s+know(?:\s+that)?)\s+the\s+(?:\w+\s+)?answer\s+(?:is|must\s+be)\b",
    re.IGNORECASE,
)
_SHORTEST_SOLUTION = 12  # characters
_WORDS_AROUND_THE_ANSWER = 8  # "Hint: the right answer to this question is 72"
_SHORTEST_HINT = 4  # characters: a shorter literal hint is found in any text


def hint_markers(item: FilterInput) -> str | None:
    """The reason code, if a marker or the hint itself stands in the completion.

    A hint that is nothing but the answer counts only where the completion begins with it: further on, a right
    rationale says its answer of its own accord.
    """
    if _MARKERS.search(item.completion):
        return "hint_markers"
    hint = (item.hint or "").strip()
    if len(hint) < _SHORTEST_HINT and not hint.startswith("("):
        return None
    if _is_the_answer(hint, item):
        return "hint_markers" if fold(item.completion).startswith(fold(hint)) else None
    said = fold(item.completion)
    bare = fold(hint.strip("()[] "))  # a whole solution is shown in parentheses and repeated without them
    leaked = fold(hint) in said or (len(bare) >= _SHORTEST_SOLUTION and bare in said)
    return "hint_markers" if leaked else None


def _is_the_answer(hint: str, item: FilterInput) -> bool:
    """Whether the hint is the answer, in a few words at most; a solution that leads to it is not."""
    inner = hint.strip("()[] ")
    if len(tokens(inner)) > len(tokens(item.gold_text)) + _WORDS_AROUND_THE_ANSWER:
        return False
    return item.task.is_answer(item.example, inner)
