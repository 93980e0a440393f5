"""The audits of each iteration as a table: whether the training data can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from app.ledger.jobs.report import Coverage
from star_engine.evaluation.report import percent, points

HEADER = (
    "iteration", "expected lucky", "precision", "yield of hints", "verdicts doubted", "distinct 3-grams",
    "solutions per example", "tokens", "length drift", "like few-shot", "same again",
)  # fmt: skip
TEXT = (
    "Expected lucky: how many of the kept generated rationales are right by chance, from the wrong "
    "answers and the chance of a guess; precision: the share that is not. Yield of hints: what was "
    "kept by rationalization one iteration earlier and is now solved without the hint, of those asked "
    "again. Verdicts doubted: of a sample, those that a second, independent method judges otherwise "
    "(accepted + refused). Length drift: the kept rationales' mean length against the iteration "
    "before. Like few-shot: the share of a rationale's 4-grams that stand in a few-shot example. "
    "Same again: tries that came out the same to the byte when they were generated a second time."
)


def audit_rows(coverage: Iterable[Coverage]) -> tuple[tuple[str, ...], ...]:
    """Return one row per audited iteration, in the order of HEADER."""
    return tuple(_row(row.iteration, row.audits) for row in coverage if row.audits)


def told(coverage: Iterable[Coverage]) -> Iterator[str]:
    """Return the warnings about an iteration's rows from before training."""
    for row in coverage:
        for sentence in (row.audits or {}).get("before_training", ()):
            yield f"Iteration {row.iteration}: {sentence}"


def _row(iteration: int, found: Mapping[str, Any]) -> tuple[str, ...]:
    luck, texts, length = found["luck"], found["diversity"], found["length"]
    again, verdicts = found["rationalization_yield"], found["verdicts"]
    doubted = f"{verdicts['accepted']} + {verdicts['refused']} of {verdicts['checked']}"
    return (
        str(iteration),
        f"{luck['expected_lucky']:.1f} of {luck['kept']}",
        _written(luck["precision"], percent),
        f"{again['solved']} of {again['asked']}" if again else "–",
        doubted,
        _written(texts["distinct_3"], percent),
        _written(texts["solutions_per_example"], lambda value: f"{value:.2f}"),
        _written(length["mean"], lambda value: f"{value:.1f}"),
        _written(length["drift"], lambda value: f"{points(value)} %"),
        _written(found["few_shot_similarity"], percent),
        _again(found.get("determinism")),
    )


def _again(found: Mapping[str, Any] | None) -> str:
    return f"{found['same_text']} of {found['checked']} ({found['grade']})" if found else "–"


def _written(value: float | None, how: Callable[[float], str]) -> str:
    return "–" if value is None else how(value)
