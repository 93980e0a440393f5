"""A scripted model whose sampled tries differ: a try is right by its seed, more rarely the more digits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from star_engine.testing.fakes import addition_pupil

QUESTION = re.compile(r"Input:\n([\d ]+) \+ [\d ]+(?! \()\nTarget:$")


def pupil() -> Any:
    """One digit: always right. Two: right where the seed is even. Three: never, unless hinted."""
    right, wrong = addition_pupil(frozenset(range(1, 9))), "\n<scratch>\n</scratch>\n0"

    def answer(request: Any, adapter: Path | None) -> str:
        asked = QUESTION.search(request.prompt.rstrip())
        digits = len(asked[1].split()) if asked else 0
        able = digits < 2 or (digits == 2 and request.seed is not None and request.seed % 2 == 0)
        return str(right(request, adapter)) if able else wrong

    return answer
