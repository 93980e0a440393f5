"""Judging a text without a job: by the name of a kind, a gold answer and, for `choice`, the choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from star_engine.tasks.examples import Example
from star_engine.tasks.grading import grade
from star_engine.tasks.registry import check_options, task_of
from star_engine.tasks.verdict import Verdict


def verify(
    kind: str,
    completion: str,
    answer: str,
    choices: Sequence[str] | None = None,
    *,
    stops: Sequence[str] | None = None,
    **options: Any,
) -> Verdict:
    """Judge a rationale with its answer clause.

    `answer` is the gold answer, for `choice` the letter of the right one of `choices`. Options: `fallback`
    ("last_number", numeric), `timeout_s` (math), `pattern` (pattern). `stops` replace the kind's. A gold
    answer that its kind cannot read gives the verdict `error`; ValueError means a call that fits no kind:
    unknown kind or option, bad pattern.
    """
    check_options(kind, options)
    return grade(task_of(kind), _example(answer, choices), completion, options, stops=stops)


def verify_direct(
    kind: str,
    completion: str,
    answer: str,
    choices: Sequence[str] | None = None,
    *,
    stops: Sequence[str] | None = None,
    **options: Any,
) -> Verdict:
    """Judge a completion that is only the answer ("72", "(b)", "8 8 3"), as direct prompts ask for it."""
    check_options(kind, options)
    return grade(task_of(kind), _example(answer, choices), completion, options, direct=True, stops=stops)


def canonical_answer(kind: str, answer: str, choices: Sequence[str] | None = None) -> str:
    """The normalised form of a gold answer, equal for equal answers. Raises ValueError with the fix."""
    return task_of(kind).canonical_gold(_example(answer, choices))


def check_gold(kind: str, answer: str, choices: Sequence[str] | None = None, **options: Any) -> None:
    """Raise ValueError, with the fix, unless the answer verifies against itself."""
    check_options(kind, options)
    task_of(kind).check_gold(_example(answer, choices), options)


def _example(answer: str, choices: Sequence[str] | None) -> Example:
    return Example("", "", answer, None if choices is None else tuple(choices))
