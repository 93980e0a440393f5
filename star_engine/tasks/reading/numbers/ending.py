"""Finds the sentence that a text ends with, and the number where its last line holds nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from star_engine.tasks.reading.correction import is_polite
from star_engine.tasks.reading.final_text import FinalText
from star_engine.tasks.reading.numbers.number import read_number
from star_engine.tasks.reading.numbers.number_value import Number
from star_engine.tasks.reading.numbers.result_wording import CONCLUDES, VERIFIES

Span = tuple[int, int]

MAX_ENDS = 8  # checks and explanations behind which a conclusion is looked for; and sentences passed over

_EXPLANATION = re.compile(
    r"\n[^\w\n]*(?:explanation|reasoning|breakdown|justification|here['’]s\s+(?:why|how))\b[^\n\w]*(?:\n|:)",
    re.IGNORECASE,
)
_TOTAL_ROW = re.compile(
    r"^\s*\|[\s*_]*(?:grand\s+)?(?:total|sum|result|answer)\b[^|]*\|(.*)\|\s*$", re.IGNORECASE
)


def endings(final: FinalText) -> Iterator[FinalText]:
    """The text as far as its conclusion may go: to an explanation, to its end, or to a check or a note."""
    if explained := _EXPLANATION.search(final.text, 1, final.end):
        yield replace(final, end=explained.start())
    spans = [(begin, min(end, final.end)) for begin, end in final.sentences.behind(0) if begin < final.end]
    checks = [begin for begin, end in spans[1:] if VERIFIES.search(final.text[begin : min(end, begin + 80)])]
    last = last_sentence(final)
    if last and (not checks or CONCLUDES.search(final.text[slice(*last)])):
        yield final
    for check in checks[:MAX_ENDS]:
        yield replace(final, end=check)


def last_sentence(final: FinalText) -> Span | None:
    """The last one that is more than politeness, emoji or a rule of dashes.

    One that begins in the middle, below a displayed formula, begins where its first line does.
    """
    ends = [end for end in final.sentences.ends if end <= final.end] or [final.end]
    if ends[-1] < final.end:
        ends.append(final.end)
    stop = None
    for number in range(len(ends) - 1, max(-1, len(ends) - 1 - 2 * MAX_ENDS), -1):
        begin = ends[number - 1] if number else 0
        begin += len(final.text[begin : ends[number]]) - len(final.text[begin : ends[number]].lstrip())
        end = begin + len(final.text[begin : ends[number]].rstrip())
        if is_polite(final.text[begin:end]):
            continue
        stop = stop or end
        if not (final.text[begin].islower() or final.text[begin] in "$\\") or not _goes_on_from(
            final.text, begin
        ):
            return begin, stop
    return None


def _goes_on_from(text: str, begin: int) -> bool:
    """Whether a line continues the one above: "per month." below a formula."""
    above = text[max(0, begin - 200) : begin].rstrip()
    return re.search(r"[^\W\d_]$|\d$", above) is not None and text[begin].islower()


def alone_on_line(final: FinalText, begin: int, end: int) -> Number | None:
    """A last line that is a number, with a unit at most: "42 pens", "= 42"."""
    line = final.text[begin:end]
    if "=" in line.lstrip("= ") or re.search(r"\d.*\s[a-z]+\s[a-z]+\s[a-z]+", line):
        return None
    begin += len(line) - len(line.lstrip("= "))
    number = read_number(final.text, begin, end)
    if not isinstance(number, Number) or re.search(r"\w", final.text[begin : number.start]):
        return None
    if not re.search(r"\d", final.text[number.start : number.end]):
        return None  # "Two years have passed"
    previous = final.text[:begin].rstrip(" =\n\t").rpartition("\n")[2]
    return (
        None
        if isinstance(read_number(previous, 0, len(previous)), Number) and "=" not in previous
        else number
    )


def total_of_row(text: str, begin: int, end: int) -> Number | None:
    """The last cell of a table's last row: "| **Total** | | $56 |"."""
    row = _TOTAL_ROW.match(text[begin:end])
    cells = [cell for cell in row[1].split("|") if cell.strip()] if row else []
    if row is None or not cells:
        return None
    at = text.rindex(cells[-1], begin, end)
    number = read_number(text, at, at + len(cells[-1]))
    return number if isinstance(number, Number) else None
