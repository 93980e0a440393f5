"""Rejects rationales that state the answer before any reasoning: what follows only justifies it."""

from __future__ import annotations

import re

from star_engine.filters.filter_input import FilterInput
from star_engine.filters.reasoning import content_words, tokens
from star_engine.tasks.reading.number import Number, read_number
from star_engine.tasks.reading.number_words import read_number_words
from star_engine.tasks.verify import verify, verify_direct

_FIRST_SENTENCE = re.compile(r".+?(?:[.!?](?=\s)|\n|$)", re.DOTALL)
_NUMBER = re.compile(r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?")
_CALCULATION = re.compile(r"[0-9)%]\s?[-+*/×÷−–^x]\s?[$€£(]*[0-9.]")
_OPERATION = re.compile(
    r"[-+*/×÷=−%^]|\b(?:x|times|plus|minus|half|twice|double|sum|total|each|per|and)\b", re.IGNORECASE
)


def answer_first(item: FilterInput, min_words: int = 3) -> str | None:
    """The reason code, if fewer than `min_words` content words stand before the answer is first stated."""
    stated = _stated_at(item)
    if stated is None:
        return None
    before = item.completion[:stated]
    if item.kind == "numeric" and _CALCULATION.search(before):
        return None  # "96 / 12 = 8" is short, but it is reasoning
    return "answer_first" if len(content_words(before, item)) < min_words else None


def _stated_at(item: FilterInput) -> int | None:
    """Where the gold answer is first asserted; None where the first sentence and, for numbers, the text
    before the first operation assert nothing."""
    text = item.completion
    if item.kind == "scratchpad":
        before = text.partition("<scratch>")[0]
        return 0 if "<scratch>" in text and tokens(before) else None
    kind = "exact" if item.kind in ("math", "pattern") else item.kind
    first = _FIRST_SENTENCE.search(text)
    sentence = text[: first.end()] if first else text
    for found in (
        verify_direct(kind, sentence, item.answer, item.choices),
        verify(kind, sentence, item.answer, item.choices),
    ):
        if found.is_correct and found.span:
            return found.span[0]
    if item.kind == "choice":
        return _named_at(item)
    return _number_out_of_nowhere(item) if item.kind == "numeric" else None


def _named_at(item: FilterInput) -> int | None:
    """The gold label, or "answer must be <text of the gold choice>"."""
    label = re.escape(item.answer.strip().strip("()."))
    text = r"\s+".join(map(re.escape, item.gold_text.split()))
    named = re.search(
        rf"\(\s*{label}\s*\)|\banswer\s+(?:must|should|would|has\s+to)\s+be\s+(?:an?\s+|the\s+)?{text}(?!\w)",
        item.completion,
        re.IGNORECASE,
    )
    return named.start() if named else None


def _number_out_of_nowhere(item: FilterInput) -> int | None:
    """The gold number where nothing has been calculated yet, though the question does not hold it."""
    gold = read_number(item.answer, 0, len(item.answer))
    if not isinstance(gold, Number):
        return None
    asked = {found[0].replace(",", "") for found in _NUMBER.finditer(item.question)}
    asked |= {str(read_number_words(word)) for word in tokens(item.question)}
    if gold.canonical in asked:
        return None
    operation = _OPERATION.search(item.completion)
    until = operation.start() if operation else len(item.completion)
    for found in _NUMBER.finditer(item.completion, 0, until):
        is_operand = operation and not operation[0].isalpha() and found.end() + 2 >= until
        if found[0].replace(",", "") == gold.canonical and not is_operand:
            return found.start()
    return None
