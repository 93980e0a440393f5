"""A scripted model that computes badly by hand, and calls Python once it has learned to or is hinted at."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from star_engine.protocols import SampleRequest

FENCE = "```python\n"


def pupil() -> Callable[[SampleRequest, Path | None], str]:
    def answer(request: SampleRequest, adapter: Path | None) -> str:
        asked, _, said = request.prompt.rpartition("\nA:")
        a, b = re.findall(r"\d+", asked.rpartition("Q: ")[2])[:2]
        if outputs := re.findall(r"```output\n(\d+)\n", said):
            return f"So it is {outputs[-1]}.\n#### {outputs[-1]}"
        if said.endswith(FENCE):
            return f"print({a} * {b})\n```\n"
        if adapter is not None:
            return f" Let me compute.\n{FENCE}print({a} * {b})\n```\n"
        return f" {a} times {b} is about {int(a) * 10}.\n#### {int(a) * 10}"

    return answer
