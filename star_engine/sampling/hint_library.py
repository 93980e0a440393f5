"""Procedural hints: sentences that a model reads as its own and after which it writes code.

In the words of START (arXiv 2503.04625, section 3.1) and CoRT (2506.09820), none of which carries an answer.
`VERSION` is recorded with each hinted try, so that a text can be told from one of another library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from star_engine.config.tools import HintGroup, Hints

VERSION = 1

LIBRARY: Mapping[HintGroup, tuple[str, ...]] = {
    HintGroup.GENERAL: (
        "Wait, maybe using Python here is a good idea.",
        "Wait, I can think more deeply about this problem through Python.",
    ),
    HintGroup.CALCULATION: (
        "It looks tedious, and I can use Python to simplify the calculation.",
        "Let me compute this with Python instead of by hand.",
    ),
    HintGroup.CHECK: (
        "Wait, I can use Python to check if my approach is correct and refine it, if necessary.",
        "Wait, let me check the logic of this step by step with Python.",
    ),
    HintGroup.ALTERNATIVE: (
        "Alternatively, I can solve this in another way with Python and compare.",
        "Wait, is there another method? Let me try one with Python.",
    ),
    HintGroup.DEBUG: (
        "Wait, I can run my code on the examples of the task and look at what it prints.",
        "Let me debug this by running it on a small input.",
    ),
}


@dataclass(frozen=True, slots=True)
class Hint:
    """name: "check/2" of the library, or "own/1" of the job's own texts."""

    name: str
    text: str


def hints_of(config: Hints, fence: str) -> list[Hint]:
    """The hints that a job draws from. Those of the library end with a fence that is opened: ```fence."""
    found = [
        Hint(f"{group}/{number}", f"{text}\n```{fence}\n")
        for group in config.groups
        for number, text in enumerate(LIBRARY[group], start=1)
    ]
    return found + [Hint(f"own/{number}", text) for number, text in enumerate(config.texts, start=1)]


def draw(config: Hints, fence: str, dice: float) -> Hint:
    """One of them; dice: in [0, 1)."""
    hints = hints_of(config, fence)
    return hints[int(dice * len(hints))]
