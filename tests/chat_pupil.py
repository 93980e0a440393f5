"""Scripted chat models that add, and understand nothing but their own chat template (Qwen3's)."""

from __future__ import annotations

import re
from pathlib import Path

from star_engine.protocols import SampleRequest
from star_engine.testing.fakes import Script, addition_scratchpad
from tests.star_engine.chat.families import THINK

_ASKED = re.compile(
    r"<\|im_start\|>user\n([\d ]+) \+ ([\d ]+)(\nTarget: [\d ]+)?<\|im_end\|>\n<\|im_start\|>assistant\n\Z"
)


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
