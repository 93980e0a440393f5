"""Checks the scratchpad of an addition line by line: each digit pair, partial sum and carry (Figure 3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SPACED = r"[0-9](?: ?[0-9])*"
_QUESTION = re.compile(rf"\s*({_SPACED}) \+ ({_SPACED})\s*")
# "2 + 5 , 3 C: 1": the digits that are added next, the sum so far, the carry.
_LINE = re.compile(rf"(?:({_SPACED})? ?\+ ?({_SPACED})?|({_SPACED}))? ?, ?({_SPACED})? ?C: ?([01])")


@dataclass(frozen=True, slots=True)
class _Addition:
    left: str
    right: str

    @property
    def places(self) -> int:
        return max(len(self.left), len(self.right))

    def state(self, place: int) -> tuple[str, str]:
        """The digits of the sum below this place, and the carry into it."""
        base = 10**place
        total = int(self.left) % base + int(self.right) % base
        return (str(total % base).zfill(place) if place else ""), str(total // base)


def false_line(question: str, working: str) -> str | None:
    """The first line of the working that is not right, missing ones included; None where all are.

    None, too, for what is no addition of two numbers, and for working in another layout than the paper's.
    """
    asked = _QUESTION.fullmatch(question)
    lines = [line for written in working.splitlines() if (line := written.partition("#")[0].strip())]
    if asked is None or not any("C:" in line for line in lines):
        return None
    return next(_wrong(_Addition(_joined(asked[1]), _joined(asked[2])), lines), None)


def _wrong(addition: _Addition, lines: list[str]) -> Iterator[str]:
    place = 0
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None and place > addition.places and _is_sum(addition, line):
            continue
        if found is None or place > addition.places or not _fits(addition, place, found):
            yield line
            return
        place += 1
    if place <= addition.places:
        yield lines[-1]  # the digits that are left were never added


def _fits(addition: _Addition, place: int, line: re.Match[str]) -> bool:
    shown, done, carry = (line[1], line[2]), _joined(line[4]), line[5]
    if (done, carry) != addition.state(place):
        return False
    if line[3] is not None:  # one operand alone, where the other has no digits left
        return _joined(line[3]) in {*_next(addition.left, place), *_next(addition.right, place)} - {""}
    both = zip(shown, (addition.left, addition.right), strict=True)
    return all(_joined(text) in _next(digits, place) for text, digits in both)


def _next(digits: str, place: int) -> set[str]:
    """How the operand may stand when this place comes next: its digit there, or all that are left."""
    left = digits[: len(digits) - place] if place < len(digits) else ""
    if place == 0:
        return {digits}
    return {left, left[-1]} if left else {"", "0"}


def _is_sum(addition: _Addition, line: str) -> bool:
    digits = _joined(line.lstrip(", "))
    return digits.isdigit() and int(digits) == int(addition.left) + int(addition.right)


def _joined(spaced: str | None) -> str:
    return (spaced or "").replace(" ", "")
