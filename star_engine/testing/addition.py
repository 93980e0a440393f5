"""A script that learns addition from its training set, digit count by digit count."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from star_engine.protocols import SampleRequest, TrainingText
from star_engine.testing.adapters import read_lessons

Script = Callable[[SampleRequest, Path | None], str]
"""From a request and the adapter in use (None: the base model) to the text of the completion."""

_ADDITION = re.compile(r"Input:\n([\d ]+) \+ ([\d ]+)\nTarget:( [\d ]+)?$")


def lessons_in(rows: Sequence[TrainingText], start: Path | None) -> frozenset[int]:
    """Digit counts that rows teach, if they are additions."""
    found = [match for row in rows if (match := _ADDITION.search(row.prompt))]
    return frozenset(len(_digits(match[1])) for match in found) | read_lessons(start)


def addition_pupil(known: frozenset[int] = frozenset({1})) -> Script:
    """A script for the paper's addition: right where the digit count is known, learned or hinted at.

    The base model knows `known` digit counts; an adapter of RecordingTrainer adds those among its training
    rows. Where it knows nothing it forgets the carry, so it is right now and then, as a weak model is.
    """

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        match = _ADDITION.search(request.prompt)
        if match is None:
            return "\nI only add."
        a, b = _digits(match[1]), _digits(match[2])
        able = match[3] is not None or len(a) in known | read_lessons(adapter)
        return "\n" + addition_scratchpad(a, b, carries=able) + "\n\nInput:\n1 + 1\nTarget:\n"

    return answer


def _digits(text: str) -> tuple[int, ...]:
    return tuple(int(digit) for digit in text.split())


def addition_scratchpad(a: Sequence[int], b: Sequence[int], *, carries: bool = True) -> str:
    """The scratchpad of the paper's Figure 3 for two numbers of equal length, answer clause included.

    Digits are added from the right; each line shows the next pair, the digits so far and the carry. Without
    `carries` every carry is forgotten, and the answer is wrong unless there was none.
    """
    lines = [f"{_spaced(a)} + {_spaced(b)} , C: 0"]
    digits: list[int] = []
    carry = 0
    for position in range(len(a) - 1, -1, -1):
        total = a[position] + b[position] + carry
        digits.insert(0, total % 10)
        carry = total // 10 if carries else 0
        pair = f"{a[position - 1]} + {b[position - 1]} " if position else ""
        lines.append(f"{pair}, {_spaced(digits)} C: {carry}")
    result = ([carry] if carry else []) + digits
    lines.append(_spaced([carry, *digits]))
    return "\n".join(["<scratch>", *lines, "</scratch>", _spaced(result)])


def _spaced(digits: Sequence[int]) -> str:
    return " ".join(str(digit) for digit in digits)
