"""Where the sentences of a text end. A new line always ends one."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

Span = tuple[int, int]

_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s|$)|[。！？]|\n")
_ABBREVIATED = re.compile(
    r"\b(?:mr|mrs|ms|dr|st|jr|sr|prof|mt|vs|approx|fig|eq|rs|e\.g|i\.e|a\.m|p\.m)$", re.IGNORECASE
)
_INITIAL = re.compile(r"\b[A-Z][a-z]+ [A-Z]$|\b[A-Z]\.\s?[A-Z]$")


@dataclass(frozen=True, slots=True)
class Sentences:
    """The ends of all sentences, in order; the last one is the end of the text."""

    text: str
    ends: tuple[int, ...]

    def around(self, start: int, end: int) -> Span:
        """The sentence or sentences that text[start:end] stands in."""
        before = bisect_right(self.ends, start) - 1
        after = bisect_left(self.ends, max(end, start + 1))
        begin = self.ends[before] if before >= 0 else 0
        return begin, self.ends[after] if after < len(self.ends) else len(self.text)

    def behind(self, position: int) -> list[Span]:
        """From the position on: the rest of its sentence, then every later one; blank ones left out."""
        begin, spans = position, []
        for end in self.ends[bisect_right(self.ends, position) :]:
            if self.text[begin:end].strip():
                spans.append((begin, end))
            begin = end
        return spans


def split_sentences(text: str) -> Sentences:
    """Find every end of a sentence. The period of "Dr. Who" and of "J. K. Rowling" is none."""
    ends = [
        mark.end()
        for mark in _END.finditer(text)
        if mark[0][0] != "." or not _is_abbreviation(text, mark.start())
    ]
    if not ends or ends[-1] < len(text):
        ends.append(len(text))
    return Sentences(text, tuple(ends))


def _is_abbreviation(text: str, period: int) -> bool:
    """Whether the period at this position belongs to the word before it."""
    before = text[max(0, period - 24) : period]
    behind = text[period + 1 : period + 5]
    if _ABBREVIATED.search(before) or _INITIAL.search(before):
        return True
    if re.search(r"\b[A-Z]$", before) and re.match(r"\s?[A-Z]\.", behind):
        return True  # the first of "J. K. Rowling"
    return re.search(r"\bno$", before, re.IGNORECASE) is not None and re.match(r"\s\d", behind) is not None
