"""Reads what a calculation in a sentence comes to: the 42 of "she has 20 + 22 = 42 pens, more than Tom"."""

from __future__ import annotations

import re
from fractions import Fraction

from star_engine.tasks.reading.numbers.number import read_number
from star_engine.tasks.reading.numbers.number_value import Number
from star_engine.tasks.reading.numbers.numerals import are_aside, numeral_value, numerals
from star_engine.tasks.reading.numbers.unit_words import changes_the_value

_WHAT_EQUALS = re.compile(r"[^=→⇒\n,;:]*$")
_UNKNOWN = re.compile(
    r"(?<![A-Za-z\\'’])(?![aIi]\s+[a-z]|[aA]\s+[$€£]?\d|(?<!\d)(?<![-+*/×÷=]\s)[A-Za-z]\s+[a-z]{2})[A-Za-z](?![A-Za-z'’])"
)
_UNIT = re.compile(
    r"(?<=\d)\s(?:m|g|l|L|h|s)\b(?!\s*[=(])|(?<=/)(?:m|g|l|L|h|s)\b|(?<=[\d/])(?:min|sec|cm|km|kg|mg|ml|ft|hr)\b"
)
_NAMED = re.compile(r"(?:^|[^\W\d_]{2}[,:]?\s)\s*[A-Za-z]\s*$")  # "we find that x", not "2 + x"
_TIMES = re.compile(r"(?<=[\d)\s])x(?=\s*[$(\d])|(?<=\d)\s?[mglhs]\b")
_OPERATION = re.compile(r"[\d)%]\s?[-+*/×÷−·x]|\\(?:times|cdot|div|frac)|[\w)]\s[-+*/×÷−·]\s[\w($]")
# Behind the number of a calculation: what it means. Not "= 6 to 8", nor "= 6 and a half".
_MEANING = re.compile(
    r",?\s(?:(?:more|less|fewer|higher|lower)\s+(?:than|in|on|for|per)|than|who|that|which|for|in|on|at|after"
    r"|do|does|did|will|can|per|every|from|between|above|below|with|when|before|as|not|during|by|left|each|are"
    r"|is|were|was|have|has|so|(?:to|and|over)(?!\s+(?:a\b|one\b|two\b|three\b|half|[$€£]?\d)))\b",
    re.IGNORECASE,
)
_EQUALS = re.compile(r"\b(?:equals|is\s+equal\s+to|makes|is)\b(?!.*\b(?:equals|is)\b)", re.IGNORECASE)
_PARTS_AGAIN = re.compile(
    r"[,;:=+*/×÷−]|\s-\s|\b(?:but|so|then|which|leaving|leaves|giving|making|minus|plus|while|whereas|and|or|not|than)\b",
    re.IGNORECASE,
)
_RANGE = re.compile(r"\s*(?:-|–|to|or)\s*[$€£]?\d", re.IGNORECASE)
# Behind a result these compare it, and further on they belong to what was counted.
_COMPARES = frozenset({"more", "less", "fewer", "short", "times"})
_BEHIND = frozenset(
    """than up over about around above below under most least between through until not nor off instead rather
    e pi half quarter point""".split()  # noqa: SIM905
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
    if not isinstance(shorter, Number):
        shorter = read_number(text, found.start(), found.end())
        if not _only_says_of_what(text[found.end() : end]):
            return None
    return shorter if isinstance(shorter, Number) and _belong_to_it(text, found.end(), end) else None


def calculated_reason(text: str, begin: int, end: int) -> Fraction | None:
    """What a reason comes to: the 5 of "because 50 / 10 = 5", the 50 of "because 750 minus 700 equals 50"."""
    if number := calculated(text, begin, end):
        return number.value
    equals = _EQUALS.search(text, begin, end)
    found = next(numerals(text, equals.end(), end), None) if equals else None
    if equals is None or found is None or not any(numerals(text, begin, equals.start())):
        return None
    return None if re.search(r"\w", text[equals.end() : found.start()]) else numeral_value(found[0])


def _belong_to_it(text: str, begin: int, end: int) -> bool:
    """Whether every numeral behind a result says more of it: "to read 120 pages", not "but he has 20"."""
    if are_aside(text, begin, end):
        return True
    found = [one.start() for one in numerals(text, begin, end)]
    return not _PARTS_AGAIN.search(text, begin, found[-1]) and not _RANGE.match(text, begin, end)


def _only_says_of_what(rest: str) -> bool:
    """Whether words behind a result leave it as it is: "10 digits of pi", "26 fish more", not "2 dozen"."""
    found = [one.lower() for one in re.findall(r"[^\W\d_]+", rest)]
    if not found or not re.match(r"[\s*_.]*[^\W\d_]", rest) or re.search(r"[≈~±^?]", rest):
        return False
    if changes_the_value(found[0]) and found[0] not in _COMPARES:
        return False
    return not any(changes_the_value(one) and one not in _COMPARES | _BEHIND for one in found[1:])


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
    if _NAMED.search(side):
        return True
    side = _UNIT.sub(" ", side)
    is_expression = re.search(r"[\d+*/×÷^()−-]", side) is not None
    return not (is_expression and _UNKNOWN.search(_TIMES.sub(" ", side)))
