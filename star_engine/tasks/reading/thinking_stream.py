"""A text that comes in pieces, parted into its thinking and what is said behind it, as `parted` does it."""

from __future__ import annotations

from enum import Enum, auto
from string import ascii_lowercase, ascii_uppercase

from star_engine.tasks.reading.final_part import BARE_HARMONY, BARE_HARMONY_FINAL, CLOSINGS, OPENINGS

_BARE = "analysis"  # what BARE_HARMONY finds
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def _lower(text: str) -> str:
    """Of the same length as `text`, which str.lower() is not: of "İ" it makes two characters."""
    return text.translate(_LOWER)


class _Place(Enum):
    BEFORE = auto()
    THINKING = auto()
    BEHIND = auto()


class ThinkingStream:
    """Holds back what may be a part of a mark. A thinking is told by the mark that opens it at the beginning.

    `opening`: what the prompt has begun for the model; see `opened_thinking`.
    """

    def __init__(self, opening: str = "") -> None:
        self._held, self._place = opening, _Place.BEFORE
        self._closings: tuple[str, ...] = CLOSINGS
        self._fresh = False  # line breaks behind a mark belong to it

    def add(self, text: str, *, last: bool = False) -> tuple[str, str]:
        """What can be told so far: the next part of the thinking, and of what is said behind it."""
        self._held += text
        if self._place is _Place.BEFORE:
            self._begin(last)
        thought = self._think(last) if self._place is _Place.THINKING else ""
        return thought, self._taken(len(self._held)) if self._place is _Place.BEHIND else ""

    def _begin(self, last: bool) -> None:
        shown = self._held.lstrip()
        mark = next((mark for mark in OPENINGS if _lower(shown).startswith(mark)), None)
        if mark is None and BARE_HARMONY.match(shown):
            mark, self._closings = _BARE, (BARE_HARMONY_FINAL,)
        if mark is not None:
            self._held, self._place, self._fresh = shown[len(mark) :], _Place.THINKING, True
        elif last or not any(one.startswith(_lower(shown)) for one in (*OPENINGS, _BARE)):
            self._place = _Place.BEHIND

    def _think(self, last: bool) -> str:
        lowered = _lower(self._held)
        found = [(at, mark) for mark in self._closings if (at := lowered.find(mark)) >= 0]
        if not found:
            return self._taken(len(self._held) if last else self._sure(lowered))
        at, mark = min(found)
        thought = self._taken(at).rstrip("\n")
        self._held, self._place, self._fresh = self._held[len(mark) :], _Place.BEHIND, True
        return thought

    def _sure(self, lowered: str) -> int:
        """Where the held text may begin a mark, or ends in line breaks, which may stand before one."""
        longest = max(map(len, self._closings)) - 1
        at = next(
            at
            for at in range(max(0, len(lowered) - longest), len(lowered) + 1)
            if any(mark.startswith(lowered[at:]) for mark in self._closings)
        )
        return len(lowered[:at].rstrip("\n"))

    def _taken(self, end: int) -> str:
        text, self._held = self._held[:end], self._held[end:]
        if self._fresh:
            text = text.lstrip("\n")
            self._fresh = not text
        return text
