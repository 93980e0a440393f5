"""What base models say in the tests of `star models`."""

from __future__ import annotations

import re
from pathlib import Path

from star_engine.protocols import SampleRequest
from star_engine.testing.fakes import Script


def knows_sums() -> Script:
    def say(request: SampleRequest, _adapter: Path | None) -> str:
        numbers = re.findall(r"What is (\d+) \+ (\d+)", request.prompt)
        return f" It is easy. #### {sum(map(int, numbers[-1]))}." if numbers else " Paris"

    return say


def knows_nothing() -> Script:
    return lambda _request, _adapter: " Who knows? #### 7"


def breaks() -> Script:
    raise RuntimeError("This model's weights are of another shape.")
