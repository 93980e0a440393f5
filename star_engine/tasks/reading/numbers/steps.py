"""Tells a number that a text only calculates with, or comes to on the way, from the one that it ends with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from star_engine.tasks.reading.numbers.calculation import calculated_before
from star_engine.tasks.reading.numbers.number_value import Number
from star_engine.tasks.reading.numbers.numerals import numeral_value
from star_engine.tasks.reading.numbers.result_wording import CONCLUDES

_NUMERAL = r"[$€£]?(\d[\d,.]*(?<![.,]))"
_RESULT = re.compile(rf"=\s*{_NUMERAL}")
_OPERAND = re.compile(rf"(?<=[-+*/×÷−x])\s*{_NUMERAL}|{_NUMERAL}(?=\s*%?\s?[-+*/×÷−x](?![A-Za-z]))")
_ITEM = re.compile(r"[^\S\n]*(?:\d{1,2}[.)]|(?:step|part)\s+\d+\s*[:.])\s+", re.IGNORECASE)


def is_operand(text: str, begin: int, number: Number) -> bool:
    """Whether a number is one that text[:begin] calculates with, and its last calculation came to another.

    "So 3 * 8 = 24 pounds. The cat weighs 8 pounds." says again what was given.
    """
    last = calculated_before(text, begin)
    if last is None or last == number.value:
        return False
    before = text[:begin]
    return number.value in set(_operands(before)) - set(_results(before))


def is_one_of_a_list(text: str, begin: int) -> bool:
    """Whether the calculation at `begin` is an item like the one above it, and goes on from no result."""
    start = text.rfind("\n", 0, begin) + 1
    line = text[start:].split("\n", 1)[0]
    above = [one for one in text[:start].split("\n") if one.strip()]
    item = _ITEM.match(line)
    if item is None or not above or not _ITEM.match(above[-1]) or "=" not in above[-1]:
        return False
    return not CONCLUDES.search(line[item.end() :]) and not set(_results(text[:start])) & set(_operands(line))


def _results(text: str) -> Iterator[Fraction | None]:
    return (numeral_value(found[1]) for found in _RESULT.finditer(text))


def _operands(text: str) -> Iterator[Fraction | None]:
    return (numeral_value(found[1] or found[2]) for found in _OPERAND.finditer(text))
