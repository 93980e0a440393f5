"""A scripted model that calls Python as its question says: RUN code once, AGAIN code at every turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from star_engine.protocols import SampleRequest
from tests.worker.sandbox import tool_pupil


def pupil() -> Callable[[SampleRequest, Path | None], str]:
    multiply = tool_pupil.pupil()

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        asked, _, said = request.prompt.rpartition("\nA:")
        question = asked.rpartition("Q: ")[2]
        order, _, code = question.partition(" ")
        if order not in ("RUN", "AGAIN"):
            return multiply(request, adapter)
        if order == "RUN" and "```output" in said:
            return "That is it.\n#### 1"
        return f" Let me look.\n```python\n{code}\n```\n"

    return answer
