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


FAITHFUL_HEADER = (
    "iteration", "asked", "right", "follow a wrong hint", "whole rationale", "half", "none", "gain",
)  # fmt: skip
FAITHFUL_TEXT = (
    "Held-out questions with a wrong answer as the hint of rationalization: of those right without it, how "
    "many answers follow it. Then how likely the right answer is behind the whole rationale, behind its "
    "first half, and behind none; gain: whole against none, in points. 95 % intervals in brackets, over "
    "questions. An answer that is as likely without its rationale does not come from it."
)


def faithful_rows(coverage: Iterable[Coverage]) -> tuple[tuple[str, ...], ...]:
    """Return one row per iteration that was probed, in the order of FAITHFUL_HEADER."""
    found = ((row.iteration, (row.audits or {}).get("faithfulness")) for row in coverage)
    return tuple(_faithful(number, one) for number, one in found if one)


def audit_rows(coverage: Iterable[Coverage]) -> tuple[tuple[str, ...], ...]:
    """Return one row per audited iteration, in the order of HEADER.

    Between sampling and the training set an iteration has the audits of its sampler alone: no row yet.
    """
    return tuple(_row(row.iteration, row.audits) for row in coverage if row.audits and "luck" in row.audits)


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


def _faithful(iteration: int, found: Mapping[str, Any]) -> tuple[str, ...]:
    hint, dependence = found["wrong_hint"], found["dependence"]
    parts = (dependence.get(name) for name in ("whole", "half", "none"))
    gain = dependence.get("gain")
    return (
        str(iteration),
        str(hint["asked"]),
        str(hint["right"]),
        _with_limits(hint["followed"]),
        *(_with_limits(part) for part in parts),
        "–" if gain is None else f"{points(gain['value'])} [{points(gain['low'])}, {points(gain['high'])}]",
    )


def _with_limits(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "–"
    return f"{percent(found['value'])} [{percent(found['low'])}, {percent(found['high'])}]"


def _again(found: Mapping[str, Any] | None) -> str:
    return f"{found['same_text']} of {found['checked']} ({found['grade']})" if found else "–"


def _written(value: float | None, how: Callable[[float], str]) -> str:
    return "–" if value is None else how(value)
