"""How near a number must come to the gold answer to be right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from star_engine.tasks.reading.numbers.number_value import Number

Tolerance = str


def read_tolerance(tolerance: str) -> tuple[Fraction, bool] | None:
    """The largest difference and whether it is relative to the gold answer; None for "digits"."""
    if tolerance == "digits":
        return None
    written = tolerance.strip()
    try:
        value = Fraction(written.removesuffix("%"))
    except (ValueError, ZeroDivisionError):
        value = Fraction(-1)
    if value < 0:
        raise ValueError(
            f"tolerance {tolerance!r} is unknown; use an absolute difference such as 0.01, a relative one "
            "such as 1%, or digits"
        )
    return (value / 100, True) if written.endswith("%") else (value, False)


@dataclass(frozen=True, slots=True)
class Gold:
    """A gold answer, and how near another number must come to be right."""

    number: Number
    written: str
    tolerance: Tolerance | None

    def accepts(self, found: Number) -> bool:
        """10 % is the gold answer 10 too: data sets leave the sign out. 10 is not the gold answer 10 %."""
        if self.number.percent and not found.percent:
            return False
        difference = abs(found.value - self.number.value)
        if self.tolerance is None or difference == 0:
            return difference == 0
        allowed = read_tolerance(str(self.tolerance))
        if allowed is None:
            return difference <= Fraction(1, 2 * 10 ** self._decimals())
        return difference <= (allowed[0] * abs(self.number.value) if allowed[1] else allowed[0])

    def _decimals(self) -> int:
        decimals = re.search(r"\.(\d+)", self.written)
        return len(decimals[1]) if decimals else 0
