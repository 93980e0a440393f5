"""Reads one calendar date out of a stated answer, and none that can be read in two ways."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Literal

Order = Literal["day_first", "month_first"]

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTH = rf"(?P<month>sept|{'|'.join(f'{month[:3]}(?:{month[3:]})?' for month in _MONTHS)})\.?(?![a-z])"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})(?![\d.:/-]\d|\d)"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        r"(?P<year>\d{4})(?P<gap>[-/.])(?P<month_number>\d{1,2})(?P=gap)(?P<day>\d{1,2})(?!\d|[-/.]\d)(?:T00:00(?::00)?Z?)?",
        r"(?P<year>\d{4})\s*年\s*(?P<month_number>\d{1,2})\s*月\s*(?P<day>\d{1,2})\s*日",
        rf"{_MONTH}\s+(?:the\s+)?{_DAY},?\s+{_YEAR}",
        rf"(?:the\s+)?{_DAY}(?:\s+day)?\s+(?:of\s+)?{_MONTH},?\s+{_YEAR}",
        rf"(?P<year>\d{{4}}),?\s+{_MONTH}\s+{_DAY}(?!\d)",
        rf"(?P<day>\d{{1,2}})-{_MONTH}-{_YEAR}",
        rf"(?P<first>\d{{1,2}})(?P<gap>[-/.])(?P<second>\d{{1,2}})(?P=gap){_YEAR}",
    )
)
_LEAD = re.compile(
    r"""(?:[\s*_`"'“:]|\b(?:on|the|date|is|therefore|thus|a|an)\b|\b(?:mon|tues?|wed(?:nes)?|thurs?|fri|sat(?:ur)?|sun)(?:day)?\b[.,]?)*""",
    re.IGNORECASE,
)
_BEHIND = re.compile(
    r"""[\s*_`"'”’)]*(?:$|[.;!](?=\s|$)|\n|\((?:a\s+)?\w+day\)|,\s*(?:a\s+|which\b|because\b|since\b|so\b|not\b|the\b|\w+day\b)|\b(?:because|since|as)\b|[\u2600-\u27bf\U0001f300-\U0001faff])""",
    re.IGNORECASE,
)


class DateFlaw(StrEnum):
    """Why a stated answer is not one date."""

    NO_DATE = "no_date"
    ORDER_UNKNOWN = "day_and_month_unclear"  # 03/05/2024
    NOT_ONE_DATE = "not_one_date"  # no such day, or more follows: a range, a second date, a time


@dataclass(frozen=True, slots=True)
class DateFound:
    """`start` and `end` are offsets into the text that was read."""

    value: date
    start: int
    end: int


def read_date(text: str, start: int, end: int, order: Order | None = None) -> DateFound | DateFlaw:
    """The date that text[start:end] begins with. `order` says how 03/05/2024 is read; None: not at all."""
    lead = _LEAD.match(text, start, end)
    begin = lead.end() if lead else start
    for form in _FORMS:
        if found := form.match(text, begin, end):
            value = _value(found, order)
            if isinstance(value, DateFlaw):
                return value
            behind = _BEHIND.match(text, found.end(), end)
            return DateFound(value, begin, found.end()) if behind else DateFlaw.NOT_ONE_DATE
    return DateFlaw.NO_DATE


def _value(found: re.Match[str], order: Order | None) -> date | DateFlaw:
    parts = found.groupdict()
    year = int(parts["year"])
    if parts.get("first"):
        first, second = int(parts["first"]), int(parts["second"])
        if first == second or second > 12 or (order == "month_first" and first <= 12):
            month, day = first, second
        elif first > 12 or order == "day_first":
            month, day = second, first
        else:
            return DateFlaw.ORDER_UNKNOWN
    else:
        month = int(parts["month_number"]) if parts.get("month_number") else _month(parts["month"])
        day = int(parts["day"])
    try:
        return date(year, month, day)
    except ValueError:
        return DateFlaw.NOT_ONE_DATE


def _month(name: str) -> int:
    return next(number for number, month in enumerate(_MONTHS, start=1) if month.startswith(name.lower()[:3]))
