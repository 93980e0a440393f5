"""Texts with marks in them. A page never holds markup of a model's or a user's: a text is cut into segments
here, and the template writes each of them as text inside of an element of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from app.results.rationales import ToolUseOut

Mark = Literal["", "answer", "hint", "tool", "removed", "added", "found"]

_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
MAX_COMPARED = 250_000  # tokens of one text times tokens of the other: 0.1 s; beyond it whole lines
ALIKE = 0.3  # texts that share less are other texts: marks would strike through and underline everything


@dataclass(frozen=True, slots=True)
class Segment:
    text: str
    mark: Mark = ""


def marked(text: str, span: tuple[int, int] | None, mark: Mark) -> list[Segment]:
    """The text with text[span[0]:span[1]] marked; None: nothing is."""
    if span is None:
        return [Segment(text)]
    start, end = span
    cut = [Segment(text[:start]), Segment(text[start:end], mark), Segment(text[end:])]
    return [segment for segment in cut if segment.text]


def marked_all(text: str, spans: Iterable[tuple[int, int, Mark]]) -> list[Segment]:
    """The text with several spans marked, those that overlap an earlier one left out."""
    found, at = list[Segment](), 0
    for start, end, mark in sorted(spans):
        if at <= start < end <= len(text):
            found += [Segment(text[at:start]), Segment(text[start:end], mark)]
            at = end
    return [segment for segment in [*found, Segment(text[at:])] if segment.text]


def put_in(tools: ToolUseOut | None) -> list[tuple[int, int, Mark]]:
    """Where in a text others' words stand: a procedural hint, or what a tool has said."""
    spans = [] if tools is None else tools.spans
    return [(start, end, "hint" if who == "hint" else "tool") for start, end, who in spans]


def answered(
    text: str,
    span: tuple[int, int] | None,
    trained: str | None,
    others: Sequence[tuple[int, int, Mark]] = (),
) -> list[Segment]:
    """A rationale's text, its answer and others' words marked, and what is not trained on struck through (see
    answer_end).
    """
    marks = list(others)
    if span is not None:
        marks.append((span[0], span[1], "answer"))
    if trained is None or not text.startswith(trained):
        return marked_all(text, marks)
    behind = text[len(trained) :]
    return marked_all(trained, marks) + ([Segment(behind, "removed")] if behind else [])


def changes(
    before: str, after: str, *, removed: Mark = "removed", added: Mark = "added"
) -> list[Segment] | None:
    """`after` by words, with what is new in it and what stood there before. None: another text."""
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    if len(old) * len(new) > MAX_COMPARED:
        old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    compared = SequenceMatcher(None, old, new, autojunk=len(old) * len(new) > MAX_COMPARED)
    if old and _alike(compared, old, new) < ALIKE:
        return None
    found: list[Segment] = []
    for what, i, j, k, m in compared.get_opcodes():
        if what == "equal":
            found.append(Segment("".join(new[k:m])))
            continue
        found += [Segment("".join(old[i:j]), removed)] if i < j else []
        found += [Segment("".join(new[k:m]), added)] if k < m else []
    return found


def _alike(compared: SequenceMatcher[str], old: list[str], new: list[str]) -> float:
    """The share of tokens that both texts have; white space, which all texts have, aside."""
    words = sum(not token.isspace() for token in (*old, *new))
    shared = [new[one.b : one.b + one.size] for one in compared.get_matching_blocks()]
    return 2 * sum(not token.isspace() for run in shared for token in run) / words if words else 1.0
