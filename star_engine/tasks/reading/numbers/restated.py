"""Leaves out what only says a stated amount again in another unit: "1.5 hours, or 90 minutes"."""

from __future__ import annotations

import re
from fractions import Fraction

_RESTATEMENT = re.compile(
    r"(?<=[^\W\d_])(?:,\s*(?:or|i\.e\.,?)\s+|\s+or\s+|\s*\((?:or|i\.e\.,?|=)\s+)"
    r"(?P<currency>[$€£]?)(?P<amount>\d[\d,]*(?:\.\d+)?)"
    r"(?:\s*(?P<unit>[a-z]+))?\)?(?=[\s*_]*[.!]?[\s*_]*$)",
    re.IGNORECASE,
)
# How much smaller or larger a unit may be than the next one of its kind.
_SIZES = {
    60: "second minute hour",
    100: "cent centimeter centimetre cm dollar euro meter metre",
    1000: "kg kilogram gram g km kilometer kilometre ml liter litre",
    24: "day hour",
    7: "day week",
    12: "month year inch inche feet foot",
}


def without_restatement(tail: str, value: Fraction) -> str:
    """What follows a number of this value, without "or $0.50" where that is the same amount."""
    return _RESTATEMENT.sub(lambda other: "" if _is_same_amount(other, value) else other[0], tail)


def _is_same_amount(other: re.Match[str], value: Fraction) -> bool:
    amount = Fraction(other["amount"].replace(",", ""))
    if (other["unit"] or "").lower() == "dozen":
        return amount * 12 == value
    if not amount or not value:
        return False
    if amount == value:
        return bool(other["unit"])
    unit = "cent" if other["currency"] else (other["unit"] or "").lower().removesuffix("s")
    sizes = [size for size, units in _SIZES.items() if unit in units.split()]
    return amount / value in sizes or value / amount in sizes
