"""A second, independent way to judge answers: crude on purpose, and sharing no code with the verifiers.

Where the two disagree one of them is wrong, and a person should look. The dangerous side is an answer that
the verifier accepts and this does not: it is trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.data.selection import chance
from star_engine.sampling.rationales import Rationale
from star_engine.tasks.examples import Example
from star_engine.tasks.registry import task_of

SHOWN = 5  # disagreements that are shown in full


def audit_verdicts(
    config: StarConfig, iteration: int, examples: Mapping[str, Example], tries: Iterable[Rationale]
) -> dict[str, Any]:
    """Judge `audits.verdicts` of these tries, drawn by the job's seed, a second time.

    accepted: the verifier said correct and the second method does not; refused: the other way round;
    undecided: the second method has no opinion. What is shown is at most SHOWN of the disagreements.
    """
    task = task_of(config.kind)
    drawn = sorted(tries, key=lambda one: _lot(config.seed, iteration, one))[: config.audits.verdicts]
    counts = {"checked": len(drawn), "agreed": 0, "accepted": 0, "refused": 0, "undecided": 0}
    shown: list[dict[str, Any]] = []
    for one in drawn:
        example = examples[one.key.example_id]
        found = task.second_opinion(example, one.text)
        outcome = _compare(one.verdict == "correct", found)
        counts[outcome] += 1
        if outcome in ("accepted", "refused") and len(shown) < SHOWN:
            shown.append(
                {
                    "example_id": one.key.example_id,
                    "route": str(one.key.route),
                    "sample": one.key.sample,
                    "verdict": str(one.verdict),
                    "extracted": one.extracted,
                    "answer": example.answer,
                }
            )
    return {**counts, "disagreements": shown}


def _lot(seed: int, iteration: int, one: Rationale) -> float:
    return chance(seed, iteration, f"audit_verdict/{one.key.route}/{one.key.sample}", one.key.example_id)


def _compare(accepted: bool, found: bool | None) -> str:
    if found is None:
        return "undecided"
    if accepted == found:
        return "agreed"
    return "accepted" if accepted else "refused"
