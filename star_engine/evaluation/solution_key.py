"""When two right texts are the same solution: for counting distinct ones, not for dropping rows."""

from __future__ import annotations

import re

from star_engine.filters.arithmetic import equations
from star_engine.filters.dedupe import dedupe_key

VERSION = 1  # recorded with what is counted by it
_NOISE = re.compile(r"[\s,$€£]")


def solution_key(text: str) -> str:
    """The calculations of a text in their order (as RFT compares solutions, arXiv 2308.01825, section 3.3).

    Wording, white space, thousands separators and currency signs do not count. A text without a calculation
    is the same as another only if they differ in case and white space.
    """
    steps = [f"{_plain(left)}={_plain(right)}" for left, right, _ in equations(text)]
    return "\n".join(steps) if steps else dedupe_key(text)


def _plain(side: str) -> str:
    return _NOISE.sub("", side).lower().replace("×", "*").replace("÷", "/").replace("−", "-")
