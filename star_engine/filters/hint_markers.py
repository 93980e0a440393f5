"""Rejects rationales that speak of the hint they were shown: what they argue from is not in the question."""

from __future__ import annotations

import re

from star_engine.filters.filter_input import FilterInput
from star_engine.filters.hint_talk import hint_talk
from star_engine.tasks.exact import fold
from star_engine.tasks.reading.words import tokens

_SHORTEST_SOLUTION = 12  # characters
_WORDS_AROUND_THE_ANSWER = 8  # "Hint: the right answer to this question is 72"
_SHORTEST_HINT = 4  # characters: a shorter literal hint is found in any text


def hint_markers(item: FilterInput) -> str | None:
    """The reason code, if a text that was shown a hint speaks of it or repeats it.

    A text that was shown none cannot give one away: there the same words are the question's, or a habit
    learnt from rationalized rows, which is warned of and drops nothing.
    """
    if item.route != "rationalized":
        return None
    return "hint_markers" if hint_talk(item) or _repeats_the_hint(item) else None


def _repeats_the_hint(item: FilterInput) -> bool:
    """Whether the hint itself stands in the completion.

    A hint that is nothing but the answer counts only where the completion begins with it, or has it in the
    hint's brackets behind a word: further on, a right rationale says its answer of its own accord.
    """
    hint = (item.hint or "").strip()
    if len(hint) < _SHORTEST_HINT and not hint.startswith("("):
        return False
    said = fold(item.completion)
    if _is_the_answer(hint, item):
        bracketed = hint.startswith("(") and item.choices is None
        beside = rf"(?<=[^\W\d_])(?<!\bis)\s{re.escape(hint)}"
        return said.startswith(fold(hint)) or (bracketed and bool(re.search(beside, item.completion)))
    bare = fold(hint.strip("()[] "))  # a whole solution is shown in parentheses and repeated without them
    return fold(hint) in said or (len(bare) >= _SHORTEST_SOLUTION and bare in said)


def _is_the_answer(hint: str, item: FilterInput) -> bool:
    """Whether the hint is the answer, in a few words at most; a solution that leads to it is not."""
    inner = hint.strip("()[] ")
    if len(tokens(inner)) > len(tokens(item.gold_text)) + _WORDS_AROUND_THE_ANSWER:
        return False
    return item.task.is_answer(item.example, inner)
