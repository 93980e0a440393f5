"""A scripted model that writes programs, for jobs of kind code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from star_engine.protocols import SampleRequest

NOT_YET = ("return x", "return 0", "import os\n    os._exit(0)", "while True: pass")


def pupil() -> Any:
    """Able from the start for even numbers, else with the tests shown or once an adapter is trained."""

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        block = request.prompt.rpartition("Q: ")[2]
        found = re.search(r"plus (\d+)", block)
        number = int(found[1]) if found else 0
        able = adapter is not None or number % 2 == 0 or "must pass" in block
        does = f"return x + {number}" if able else NOT_YET[number % len(NOT_YET)]
        return f" Add {number} to what is given.\n```python\ndef f(x):\n    {does}\n```\n\nQ: next"

    return answer
