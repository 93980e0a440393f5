"""What a verifier decided about one completion."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class VerdictCode(StrEnum):
    """The verdicts. Only `correct` is trained on; the other four are counted separately."""

    CORRECT = "correct"
    WRONG = "wrong"  # an answer was stated, and it is not the gold answer
    UNPARSED = "unparsed"  # no answer was stated in a form that this kind reads
    AMBIGUOUS = "ambiguous"  # several answers were stated, or one was taken back
    ERROR = "error"  # the verifier itself failed; says nothing about the completion


@dataclass(frozen=True, slots=True)
class Verdict:
    """`span` holds character offsets into the completion as given: completion[start:end] == extracted."""

    verdict: VerdictCode
    extracted: str | None  # the answer as it stands in the completion
    canonical: str | None  # the same, normalised: equal answers of one kind have equal canonical forms
    rule: str  # what decided
    span: tuple[int, int] | None

    @property
    def is_correct(self) -> bool:
        return self.verdict is VerdictCode.CORRECT


class BadGold(ValueError):
    """A gold answer that its kind cannot verify. The message tells the uploader what to change."""


class SlowGold(BadGold):
    """A gold answer whose check was given up at its time limit. A file may hold only a few of them."""


def no_answer(verdict: VerdictCode, rule: str) -> Verdict:
    """A verdict that names no single answer."""
    return Verdict(verdict, None, None, rule, None)
