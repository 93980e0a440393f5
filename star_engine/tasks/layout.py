"""The layout of a question in a prompt, and the one most kinds share: "Q: ..." and "A:"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from star_engine.tasks.examples import Asked
from star_engine.tasks.reading.cut import DEFAULT_STOPS


@dataclass(frozen=True, slots=True)
class Layout:
    """The fixed parts of a kind's prompts. Few-shot blocks are joined by a blank line."""

    head: str  # what every block begins with, and nothing else in a prompt: "Q: "
    separator: str  # between a prompt, which ends without white space, and the completion
    # A whole few-shot block as it is published: groups question and rationale, perhaps choices and hint.
    block: re.Pattern[str]
    sign: re.Pattern[str] | None = None  # found in every text of this layout; None: what no other claims
    cue: str = "A:"  # the last line of a block, which asks for the completion; a chat turn needs none
    working: tuple[str, str] | None = None  # the tags around formal working; None: a rationale is prose

    @property
    def start(self) -> str:
        """The head as it stands in a text whose white space may differ."""
        return self.head.rstrip()

    @property
    def stops(self) -> tuple[str, ...]:
        """Where a completion ends even without EOS: the start of a next block. Grading cuts at the same."""
        own = f"\n{self.start}"  # first: it is by far the most frequent
        return (own, *(stop for stop in DEFAULT_STOPS if stop != own))


QUESTION_AND_ANSWER = Layout(
    head="Q: ",
    separator=" ",
    block=re.compile(r"Q: ?(?P<question>.+?)\nA:(?P<rationale>.+)", re.DOTALL),
)


def ask_question(example: Asked, *, hinted: bool) -> str:
    """The block of QUESTION_AND_ANSWER; the hint is the answer in parentheses, as the paper's for GSM8K."""
    return f"Q: {example.question}" + (f" {answer_in_parentheses(example)}" if hinted else "") + "\nA:"


def answer_in_parentheses(example: Asked) -> str:
    return f"({example.answer})"
