"""Questions that a model answers with a tool, beside those of a world: as many, so the same checks hold."""

from __future__ import annotations

from typing import Any

from star_engine.tasks.kind import Kind
from tests.code_questions import with_questions
from tests.factories import TRAIN, VALIDATION, World

JOB: dict[str, Any] = {
    "kind": Kind.NUMERIC.value,
    "iterations": 1,
    "rationalization": {"enabled": False},
    "tools": {"python": {}},
    "hints": {"groups": ["calculation"]},
    "training_set": {"filters": ["tool_fake", "all_calls_failed"]},
    "audits": {"spark_level": None},
}


def with_tools(world: World) -> World:
    """The same world, whose jobs are asked for products; `submit(**JOB)` makes one."""
    rows = [
        {"question": f"What is {17 + n} times {23 + 2 * n}?", "answer": str((17 + n) * (23 + 2 * n))}
        for n in range(TRAIN + VALIDATION)
    ]
    shown = {"question": "What is 3 times 4?", "answer": "12", "rationale": "It is 12.\n#### 12"}
    return with_questions(world, Kind.NUMERIC, rows, shown)
