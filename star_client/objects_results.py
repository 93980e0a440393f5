"""Derived results: dry runs, statistics, previews, coverage, regrades, trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from star_client.objects import Example, Fields, Json, Page, Resource, Timestamp


class ExampleProgress(Fields):
    """What became of one train example so far.

    `state`: solved, forgotten, unsolved, or suspect (probably a wrong answer key). `since`: the iteration
    from which on it was solved, or was not.
    """

    id: str
    example: Example
    state: str
    since: int
    iterations: int
    last_iteration: int
    tries: int
    right: int
    hinted: int
    hinted_right: int
    win_rate: float
    trained: int


class Advice(Fields):
    """What one rule says of an iteration: what it saw, and what to change.

    `change`: settings, prompt_set, dataset, or review. `settings`: to be merged into the job's config in a
    new job; empty where no setting helps.
    """

    iteration: int
    code: str
    saw: str
    do: str
    change: str
    evidence: Mapping[str, float] = {}
    settings: Mapping[str, Any] = {}


class DatasetStatistics(Fields):
    """`statistics` was counted at upload; `tokens` and `few_shot` where a model or a prompt set was named."""

    id: str
    statistics: Json | None = None
    tokens: Json | None = None
    few_shot: Json | None = None


class PromptPreview(Fields):
    """The prompt a job would send for one example, and the text it would train on."""

    id: str
    prompt: str
    hinted_prompt: str | None = None
    training_row: Json
    tokens: Json | None = None


class Warned(Fields):
    code: str
    message: str


class Span(Fields):
    """A range of durations, in seconds."""

    low: float
    expected: float
    high: float


class CostSpan(Fields):
    """A range of money."""

    currency: str
    low: float
    expected: float
    high: float


class Estimate(Fields):
    """`unavailable` says by name why one of the four is None."""

    gpu_seconds: Span | None = None
    seconds: Span | None = None
    queue_seconds: Span | None = None
    cost: CostSpan | None = None
    unavailable: Mapping[str, Warned] = {}


class DryRun(Fields):
    """What a job would be. Nothing was created."""

    name: str
    model: str
    dataset: str
    prompt_set: str
    config: Json
    budget: Json
    warnings: tuple[Warned, ...] = ()
    preview: tuple[Json, ...] = ()
    estimate: Estimate
    work: Json


class Coverage(Resource):
    """The coverage of one iteration. Shares lie between 0 and 1; None if the phase is not done."""

    job: str
    iteration: int
    solve_rate: float | None = None
    kept: Mapping[str, int] | None = None
    funnel: Mapping[str, Mapping[str, int]] | None = None
    coverage: Mapping[str, float] | None = None
    churn: Mapping[str, int] | None = None
    audits: Json | None = None
    steps: int | None = None
    tool_use: Json | None = None
    tool_accuracy: Json | None = None


class CurveStep(Fields):
    """One optimizer step. `grad_norm` is that before clipping, `tokens` counts since step 0."""

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    tokens: int
    step_tokens: int


class TrainingCurve(Resource):
    job: str
    iteration: int
    steps: tuple[CurveStep, ...]


class OtherAnswer(Fields):
    id: str
    text: str
    extracted: str | None = None
    verdict: str


class HeldOutAnswer(Resource):
    """A held-out example answered once, by a baseline (iteration 0) or an iteration's adapter.

    `changed`: gained or lost, against the answer in `against`.
    """

    job: str
    iteration: int
    mode: str
    dataset: str | None = None
    example: Example
    text: str
    extracted: str | None = None
    verdict: str
    tokens: int
    finish_reason: str
    changed: str | None = None
    against: OtherAnswer | None = None


class Limits(Fields):
    low: float
    high: float


class Apart(Fields):
    """How far one is ahead of the other over n questions: `points` is a share. Corrected for the choice."""

    n: int
    gained: int
    lost: int
    points: float
    interval: Limits
    p_value: float


class Compared(Fields):
    """The chosen iteration against one rival: helped, no_difference or worse."""

    against: str
    verdict: str
    accuracy: float
    difference: Apart


class Answer(Fields):
    """Did STaR help? `verdict` is helped, no_difference, worse or unknown; `not_run` names
    missing comparisons.
    """

    verdict: str
    sentence: str
    iteration: int | None = None
    p_value: float | None = None
    chosen_from: int = 0
    accuracy: float | None = None
    interval: Limits | None = None
    comparisons: tuple[Compared, ...] = ()
    not_run: tuple[str, ...] = ()


class Grade(Fields):
    verdict: str
    rule: str
    extracted: str | None = None
    decision: str | None = None


class Change(Fields):
    """A rationale that would be judged otherwise. `id` is the rationale's."""

    id: str
    iteration: int
    example: str
    route: str
    sample: int
    before: Grade
    after: Grade


class Flip(Fields):
    before: str
    after: str
    count: int


class RegradedSet(Fields):
    kept: Mapping[str, int]
    sha256: str | None = None


class RegradedIteration(Fields):
    iteration: int
    tries: int
    verdicts: tuple[Flip, ...] = ()
    decisions: tuple[Flip, ...] = ()
    recorded: RegradedSet
    regraded: RegradedSet


class Regrade(Fields):
    """What another verifier or other filters would have made of a job's rationales. Nothing has changed."""

    job: str
    iterations: tuple[RegradedIteration, ...]
    changes: Page[Change]


class Override(Resource):
    """A reviewer's verdict. `honoured_from`: the first iteration that will honour it; None: a fork will."""

    job: str
    rationale: str
    verdict: str
    reason: str
    reviewer: str
    key: str
    honoured_from: int | None = None
    created_at: Timestamp


class ThoughtBefore(Fields):
    token: str
    thought: str


class TrialAnswer(Fields):
    """`asked`: adapter or base. What the worker answers is None until it has. `thoughts`: of an adapter that
    thinks between tokens, before each token of the text.
    """

    asked: str
    position: int
    question: str
    text: str | None = None
    extracted: str | None = None
    verdict: str | None = None
    tokens: int | None = None
    finish_reason: str | None = None
    thoughts: tuple[ThoughtBefore, ...] | None = None


class Trial(Resource):
    adapter: str
    status: str
    is_terminal: bool
    status_reason: Json | None = None
    answers: tuple[TrialAnswer, ...] = ()
    created_at: Timestamp
