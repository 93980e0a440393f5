"""A scripted chat model that adds, and understands nothing but its own chat template (Qwen3's)."""

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
