"""Whether a last sentence doubts, denies or only supposes the number that it gives."""

from __future__ import annotations

import re
from dataclasses import replace

from star_engine.tasks.reading.final_text import FinalText
from star_engine.tasks.reading.numbers.ending import last_sentence
from star_engine.tasks.reading.numbers.number_value import Number
from star_engine.tasks.reading.numbers.result_wording import CONCLUDES, UNCERTAIN, UNCERTAIN_CALCULATION
from star_engine.tasks.reading.standing import (
    is_calculation_taken_back,
    is_doubted,
    is_doubted_calculation,
    is_taken_back,
)

Span = tuple[int, int]

_RESTATED = re.compile(r"[,\s(]+or\s+(?=[$€£]?\d)|[,\s(]+i\.e\.,?\s", re.IGNORECASE)
_OUT_OF = re.compile(r"^[\W_]*(?:so\b,?\s+)?out\s+of\s+(?:the|all|these)\s[^,\n]{1,60},\s", re.IGNORECASE)
_ROUGHLY = re.compile(r"\b(?:about|approximately|roughly|around)\s+([$€£]?\d[\d,.]*(?<![.,]))", re.IGNORECASE)
_CONDITION = re.compile(
    r"[\W_]*(?:(?:and|so|then|thus|therefore|hence|now|also)\b,?\s+)*if\b[^\n]{3,200}?(?:,\s+(?:then\s+)?|\bthen\s+)"
    r"(?=[^\n]*=)",
    re.IGNORECASE,
)
_OTHER_CASE = re.compile(r"\b(?:would|could|might|'d|instead|also)\b|’d\b", re.IGNORECASE)


def is_uncertain(text: str, span: Span, *, calculates: bool) -> bool:
    """Whether a sentence has a word of doubt. "About 42" has none where the 42 was worked out before it."""
    before, sentence = text[: span[0]], text[slice(*span)]
    said = _ROUGHLY.sub(lambda one: " " if one[1] in before else one[0], sentence)
    uncertain = UNCERTAIN_CALCULATION if calculates else UNCERTAIN
    return uncertain.search(_OUT_OF.sub(" ", _RESTATED.sub(" ", said))) is not None


def does_not_stand(final: FinalText, span: Span, begin: int, number: Number, *, calculates: bool) -> bool:
    """Whether what stands around a number in its sentence takes it back.

    `begin`: where the part of the sentence begins that concludes.
    """
    text = final.text
    if calculates and "=" in text[begin : number.start]:
        first = _behind_condition(final, span, begin)
        if is_doubted_calculation(text[first : number.start]) or _is_another_case(final, span):
            return True
    elif is_doubted(text[begin : number.start]):
        return True
    taken_back = is_calculation_taken_back if calculates else is_taken_back
    return taken_back(text, final.sentences, number.end)


def _behind_condition(final: FinalText, span: Span, begin: int) -> int:
    """Behind the "If each costs $2," that a calculation begins with: it says again what the question says."""
    condition = _CONDITION.match(final.text, begin, span[1])
    return condition.end() if condition else begin


def _is_another_case(final: FinalText, span: Span) -> bool:
    """Whether a calculation is of another case than the text's: "If a tip were added, it would be 42"."""
    if not _CONDITION.match(final.text, *span):
        return False
    before = last_sentence(replace(final, end=span[0]))
    concluded = before is not None and CONCLUDES.search(final.text[slice(*before)]) is not None
    return concluded or _OTHER_CASE.search(final.text, *span) is not None
