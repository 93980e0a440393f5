"""Reads what a calculation in a sentence comes to: the 42 of "she has 20 + 22 = 42 pens, more than Tom"."""

from __future__ import annotations

import re
from fractions import Fraction

from star_engine.tasks.reading.numbers.number import read_number
from star_engine.tasks.reading.numbers.number_value import Number
from star_engine.tasks.reading.numbers.numerals import are_aside, numeral_value, numerals

_WHAT_EQUALS = re.compile(r"[^=→⇒\n,;:]*$")
_UNKNOWN = re.compile(r"(?<![A-Za-z\\'’])(?![aIi]\s+[a-z])[A-Za-z](?![A-Za-z'’])")
_TIMES = re.compile(r"(?<=[\d)\s])x(?=\s*[$(\d])|(?<=\d)\s?[mglhs]\b")
_OPERATION = re.compile(r"[\d)%]\s?[-+*/×÷−·x]|\\(?:times|cdot|div|frac)|[\w)]\s[-+*/×÷−·]\s[\w($]")
# Behind the number of a calculation: what it means. Not "= 6 to 8", nor "= 6 and a half".
_MEANING = re.compile(
    r",?\s(?:(?:more|less|fewer|higher|lower)\s+(?:than|in|on|for|per)|than|who|that|which|for|in|on|at|after"
    r"|do|does|did|will|can|per|every|from|between|above|below|with|when|before|as|not|during|by|left|each|are"
    r"|is|were|was|have|has|so|(?:to|and|over)(?!\s+(?:a\b|one\b|two\b|three\b|half|[$€£]?\d)))\b",
    re.IGNORECASE,
)
_EARLIER_RESULT = re.compile(r"=\s*[$€£]?\s*(?=[-−]?[\d.])")


def ends_in_calculation(sentence: str) -> bool:
    """Whether a sentence says what the result of a calculation means: "she saves 210 - 168 = 42 dollars"."""
    equals = sentence.rfind("=")
    return equals > 0 and _OPERATION.search(sentence, 0, equals) is not None


def calculated(text: str, begin: int, end: int) -> Number | None:
    """The number behind the last equals sign, where a calculation or a name stands before it."""
    equals = text.rfind("=", begin, end)
    found = next(numerals(text, equals + 1, end), None)
    if found is None or text[equals + 1 : found.start()].strip(" $€£*-−("):
        return None
    if not _is_calculation(text, begin, equals):
        return None
    number = read_number(text, found.start(), end)
    if isinstance(number, Number):
        return number
    cut = _MEANING.search(text, found.end(), end)
    shorter = read_number(text, found.start(), cut.start()) if cut else None
    return shorter if isinstance(shorter, Number) and are_aside(text, found.end(), end) else None


def calculated_before(text: str, position: int) -> Fraction | None:
    """What the last calculation in front of a position came to."""
    equals = text.rfind("=", 0, position)
    found = _EARLIER_RESULT.match(text, equals, position) if equals >= 0 else None
    numeral = next(numerals(text, found.end(), position), None) if found else None
    return numeral_value(numeral[0]) if numeral else None


def _is_calculation(text: str, begin: int, equals: int) -> bool:
    """Whether what stands before an equals sign is worked out, or a name: not the 5x + 10 of "= 40"."""
    left = _WHAT_EQUALS.search(text, begin, equals)
    side = left[0] if left else ""
    is_expression = re.search(r"[\d+*/×÷^()−-]", side) is not None
    return not (is_expression and _UNKNOWN.search(_TIMES.sub(" ", side)))
