"""Made-up outcomes on held-out examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.report import Outcomes

MODES = {"direct": EvaluationMode.FEW_SHOT_DIRECT, "cot": EvaluationMode.FEW_SHOT_COT}


def right(n: int, solved: Iterable[int]) -> Mapping[int, bool]:
    found = set(solved)
    return {example: example in found for example in range(n)}


def measured(n: int, **solved: Iterable[int]) -> list[Outcomes]:
    """Of direct, cot, m1, m2, ...: which of n examples each got right."""
    return [
        Outcomes(
            MODES.get(name, EvaluationMode.ADAPTER), 0 if name in MODES else int(name[1:]), right(n, examples)
        )
        for name, examples in solved.items()
    ]
