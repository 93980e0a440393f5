"""Scripted chat models that add, and understand nothing but their own chat template (Qwen3's)."""

from __future__ import annotations

import re
from pathlib import Path

from star_engine.protocols import SampleRequest
from star_engine.testing.fakes import Script, addition_scratchpad
from tests.star_engine.chat.families import THINK

_PRODUCT = re.compile(
    r"<\|im_start\|>user\nWhat is (\d+) times (\d+)\?<\|im_end\|>\n"
    r"<\|im_start\|>assistant\n((?:(?!<\|im_start\|>)[\s\S])*)\Z"
)
_ASKED = re.compile(
    r"<\|im_start\|>user\n([\d ]+) \+ ([\d ]+)(\nTarget: [\d ]+)?<\|im_end\|>\n<\|im_start\|>assistant\n\Z"
)


def multiplying_pupil() -> Script:
    """It thinks, guesses badly, and calls Python where it is hinted at or once it has learned to."""

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        asked = _PRODUCT.search(request.prompt)
        if asked is None:
            return "I was not asked in my template."
        a, b, said = asked.groups()
        if found := re.search(r"```output\n(\d+)\n```\n\Z", said):
            return f"So it is {found[1]}.\n</think>\n\nThe product is {found[1]}.\n#### {found[1]}"
        call = f"print({a} * {b})\n```\n"
        if said.endswith("```python\n"):
            return call
        if adapter is not None:
            return f"<think>\nLet me compute.\n```python\n{call}"
        return f"<think>\nAbout {int(a) * 10}.\n</think>\n\n#### {int(a) * 10}"

    return answer


def pupil() -> Script:
    """It thinks first. It is right on one digit, and on more where it is shown the answer."""

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        asked = _ASKED.search(request.prompt)
        if asked is None:
            return "I was not asked in my template."
        a, b = (tuple(int(digit) for digit in asked[number].split()) for number in (1, 2))
        able = asked[3] is not None or len(a) == 1
        return THINK + addition_scratchpad(a, b, carries=able)

    return answer


_FOLLOWED = re.compile(
    r"<\|im_start\|>user\nAnn has (\d+) pens\.<\|im_end\|>\n<\|im_start\|>assistant\n.*?<\|im_end\|>\n"
    r"<\|im_start\|>user\nShe buys (\d+)\. How many has she\?( \(\d+\))?<\|im_end\|>\n"
    r"<\|im_start\|>assistant\n\Z",
    re.DOTALL,
)


def follower() -> Script:
    """It needs what was said two turns ago. Of three and more it adds right only where it sees the answer."""

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        asked = _FOLLOWED.search(request.prompt)
        if asked is None:
            return "I was not told how many pens there are."
        a, b = int(asked[1]), int(asked[2])
        found = a + b if b < 3 or asked[3] else a
        return f"{THINK}She had {a} pens and buys {b} more, so {a} + {b} = {found}. The answer is {found}."

    return answer
