"""Where a completion states its answer: `#### x`, `\\boxed{x}`, "the answer is x", "answer: x"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    HASHES = "hashes"
    BOXED = "boxed"
    ANSWER_IS = "answer_is"


@dataclass(frozen=True, slots=True)
class Anchor:
    """The phrase starts at `start`; what it states stands in text[begin:end], on one line."""

    rule: Rule
    start: int
    begin: int
    end: int


_ANSWER_IS_PHRASE = (
    r"(?<!if )(?<!if the )(?<!whether the )(?<!suppose the )\banswer\b[*_]*"
    r"(?:\s+to\s+(?:the|this|that)\s+(?:question|problem))?\s*(?:is\b[*_]*\s*:?|:)"
)
_ANSWER_IS = re.compile(_ANSWER_IS_PHRASE, re.IGNORECASE)
# Exactly four: five are a Markdown heading of level 5. "#### The answer is 72" states 72.
_HASHES = re.compile(rf"(?<!#)####(?!#)\s*(?:(?:the\s+)?(?:final\s+)?{_ANSWER_IS_PHRASE}\s*)?", re.IGNORECASE)
_BRACES = re.compile(r"(?P<box>\\boxed\s*\{)|(?P<escaped>\\[{}])|(?P<open>\{)|(?P<close>\})")
_RETRACTION = re.compile(
    r"\b(?:wait|hold on|actually|oops|correction|scratch that|on second thought|let me (?:re|correct|fix|try)"
    r"|i made an? (?:mistake|error)|(?:that|this|it)(?:'s|’s| is) (?:wrong|incorrect|not right|a mistake))",
    re.IGNORECASE,
)


def find_anchors(text: str) -> list[Anchor]:
    """Every anchor in order of position. Of several `####` the first counts; later ones are run-on text."""
    found = [*_answer_is(text), *_boxed(text)]
    if hashes := _HASHES.search(text):
        end = _line_end(text, hashes.end())
        next_hashes = text.find("####", hashes.end(), end)
        found.append(
            Anchor(Rule.HASHES, hashes.start(), hashes.end(), end if next_hashes < 0 else next_hashes)
        )
        found = [a for a in found if a.rule is Rule.HASHES or not hashes.start() <= a.start < hashes.end()]
    return sorted(found, key=lambda anchor: anchor.start)


def retracted_after(text: str, position: int) -> bool:
    """Whether the text goes on to take its answer back: "The answer is 73. Wait, no, 72"."""
    return _RETRACTION.search(text, position) is not None


def _answer_is(text: str) -> Iterator[Anchor]:
    for phrase in _ANSWER_IS.finditer(text):
        begin = phrase.end()
        while begin < len(text) and text[begin].isspace():
            begin += 1
        yield Anchor(Rule.ANSWER_IS, phrase.start(), begin, _line_end(text, begin))


def _boxed(text: str) -> Iterator[Anchor]:
    """Outermost boxes with balanced braces, in one pass: a text of unclosed boxes must not cost n squared."""
    stack: list[tuple[bool, int, int]] = []
    open_boxes = 0
    for brace in _BRACES.finditer(text):
        if brace["box"] or brace["open"]:
            stack.append((bool(brace["box"]), brace.start(), brace.end()))
            open_boxes += bool(brace["box"])
        elif brace["close"] and stack:
            is_box, start, begin = stack.pop()
            open_boxes -= is_box
            if is_box and not open_boxes:
                yield Anchor(Rule.BOXED, start, begin, brace.start())


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end
