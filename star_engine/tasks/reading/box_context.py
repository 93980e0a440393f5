"""Finds what stands right outside a box and changes its value: `-\\boxed{5}`, `\\boxed{5}\\pi`."""

from __future__ import annotations

import re

Span = tuple[int, int]

_REACH = 80  # characters on each side; a longer formula has an equals sign or another mark in it
_DELIMITER = re.compile(r"\$\$?|\\[()\[\]]|\n\s*\n")
# What parts the value of a formula from what leads to it, or follows from it.
_BEFORE = re.compile(
    r"=|[:;,&⇒→∴≈]|\\\\|\\(?:approx|equiv|implies|iff|in|to|[Ll]?ongrightarrow|[Rr]ightarrow|therefore|q?quad|colon)"
    r"(?![A-Za-z])|\\[,;! ]|\\(?:text|mathrm|textbf)\s*\{[^{}]*\}|\\begin\{[^{}]*\}(?:\{[^{}]*\})?"
)
_BEHIND = re.compile(
    r"=|[.,:;&⇒→≈\n]|\\\\|\\(?:text|mathrm|textbf|mbox)\s*\{|\\(?:implies|iff|[Rr]ightarrow|q?quad|end|tag|approx"
    r"|square|blacksquare|checkmark|ldots|dots|l?brace)(?![A-Za-z])|\\[,;! ]"
)
_DRESSING = re.compile(
    r"\\(?:mathbf|textbf|boldsymbol|displaystyle|underline|[Ll]arge|LARGE|huge|Huge|left|right|bigl?|color\{\w+\})"
    r"(?![A-Za-z])|[\s{}*_~]"
)
# Where a box stands in no formula, only a sign that touches it, or a TeX command, belongs to it.
_TOUCHING_BEFORE = re.compile(
    r"(?:[-−+^/±√\d]|\\(?:cdot|times|pm|sqrt|d?frac|log|ln)\s*\{?|\w?\s*(?:[<>≠≤≥]|\\(?:neq?|leq?|geq?|[lg]t))\s*)$"
)
_TOUCHING_BEHIND = re.compile(r"\^\S+|\\(?:pi|cdot|times|sqrt)[^.,;]*|\\?%|[*/+]\s*\d\S*")
_SCALE = re.compile(
    r"(?:[\s$*}]|\\[)\]]|\\(?:text|mathrm)\s*\{)*(?:hundred|thousand|million|billion|trillion|dozen|lakh|crore)s?\b",
    re.IGNORECASE,
)


def value_around(text: str, box: Span) -> Span:
    """The span of the value that a box, its command included, is a part of; the box where it is all."""
    start, end = box
    before, behind = text[max(0, start - _REACH) : start], text[end : end + _REACH]
    opening = list(_DELIMITER.finditer(before))
    closing = _DELIMITER.search(behind)
    if opening and closing and opening[-1][0] not in ("\\)", "\\]") and closing[0] not in ("\\(", "\\["):
        before, behind = before[opening[-1].end() :], behind[: closing.start()]
        parted = list(_BEFORE.finditer(before))
        before = before[parted[-1].end() :] if parted else before
        stop = _BEHIND.search(behind)
        behind = behind[: stop.start()] if stop else behind
    else:
        touching = _TOUCHING_BEFORE.search(before)
        before = touching[0] if touching else ""
        touches = _TOUCHING_BEHIND.match(behind)
        behind = touches[0] if touches else ""
    if _DRESSING.sub("", before):
        start -= len(before)
    if _DRESSING.sub("", behind) or (start < box[0] and "{" in before):
        end += len(behind)
    scale = _SCALE.match(text, end)
    return start, scale.end() if scale else end
