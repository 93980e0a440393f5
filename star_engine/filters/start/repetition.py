"""Rejects rationales that are stuck in a loop."""

from __future__ import annotations

import re

from star_engine.filters.filter_input import FilterInput

LINE_TIMES = 6  # of one line, wherever
LEAST = 12  # characters of a line: short ones repeat in a true calculation
# A part of ten characters or more, four times in a row; its length is bounded, so that time is.
_IN_A_ROW = re.compile(r"(.{10,200}?)\1{3}", re.DOTALL)


def repetition(item: FilterInput) -> str | None:
    """The reason code, if a part of ten characters stands four times in a row, or a line six times.

    What a tool has said is not counted: a table may repeat its lines.
    """
    text = item.completion if item.tools is None else item.tools.own(item.completion)
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) >= LEAST]
    looped = any(lines.count(line) >= LINE_TIMES for line in set(lines))
    return "repetition" if looped or _IN_A_ROW.search(text) else None
