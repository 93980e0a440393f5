"""When two texts are the same solution: for counting distinct ones and for pairs, not for dropping rows."""

from __future__ import annotations

import re

from star_engine.filters.dedupe import dedupe_key

# As written anywhere in a sentence: "and 36 + 4 = 40 in all". What the filters call an equation is narrower,
# since those have to be sure that it is meant to hold.
_OPERAND = r"[($€£]*\d[\d.,]*[)%]*"
_CALCULATION = re.compile(rf"(?:{_OPERAND}\s*[-+*/x×÷−]\s*)+{_OPERAND}\s*=\s*[$€£]?[\d.,]*\d")
_NOISE = re.compile(r"[\s,$€£]")


def solution_key(text: str, *, least: int = 1) -> str:
    """The calculations of a text in their order (as RFT compares solutions, arXiv 2308.01825, section 3.3).

    Wording, white space, thousands separators and currency signs do not count. A text with fewer than `least`
    calculations is the same as another only if they differ in case and white space alone.
    """
    steps = [_plain(step) for step in _CALCULATION.findall(text)]
    return "\n".join(steps) if len(steps) >= least else dedupe_key(text)


def _plain(step: str) -> str:
    return _NOISE.sub("", step).replace("×", "*").replace("x", "*").replace("÷", "/").replace("−", "-")
