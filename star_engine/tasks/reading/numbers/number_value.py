"""A number that was read, or why none was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

MAX_DIGITS = 300  # longer ones are no answers, and 1e999999999 would fill the memory


class Flaw(StrEnum):
    """Why a stated answer is not one number."""

    NO_NUMBER = "no_number"  # does not begin with a number
    NOT_ONE_NUMBER = "not_one_number"  # begins with one, but means something else: 5:30, 5!, 5 million
    SEVERAL_VALUES = "several_values"  # "72 or 73"


@dataclass(frozen=True, slots=True)
class Number:
    """`start` and `end` are offsets into the text that was read. 10 and 10 % are different numbers."""

    value: Fraction
    percent: bool
    start: int
    end: int

    @property
    def canonical(self) -> str:
        """72, -0.5 (where it terminates), 1/3, 10%."""
        return _exact_text(self.value) + ("%" if self.percent else "")

    def equals(self, other: Number) -> bool:
        return self.value == other.value and self.percent == other.percent


def _exact_text(value: Fraction) -> str:
    places = 0
    while places <= MAX_DIGITS and (value * 10**places).denominator != 1:
        places += 1
    if places == 0 or places > MAX_DIGITS:
        return str(value)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
