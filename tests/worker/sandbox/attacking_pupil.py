"""A scripted model whose programs attack: which one it writes stands in the question."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from star_engine.protocols import SampleRequest
from tests.worker.sandbox.attacks import BOUNDED, ESCAPES, FORGERIES, RIGHT


def program(name: str, surroundings: dict[str, Any]) -> str:
    """The program of a name such as forged/exit_early. All but the right ones are asked for an answer()."""
    sort, _, name = name.partition("/")
    if sort == "right":
        return RIGHT[name][0]
    if sort == "forged":
        return FORGERIES[name]
    code = BOUNDED[name][1] if sort == "bounded" else ESCAPES[name].format_map(surroundings)
    return f"{code}\ndef answer():\n    return 'nothing'\n"


def pupil() -> Any:
    surroundings = json.loads(os.environ["UNDER_TEST_SURROUNDINGS"])

    def answer(request: SampleRequest, _adapter: Path | None) -> str:
        asked = re.search(r"Write (\S+)\.", request.prompt.rpartition("Q: ")[2])
        code = program(asked[1], surroundings) if asked else "pass"
        return f" I write it.\n```python\n{code}\n```\n\nQ: next"

    return answer
