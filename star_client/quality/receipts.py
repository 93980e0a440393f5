"""Receipts of adapters: what one gained on held-out questions, over what, and how sure that is."""

from __future__ import annotations

from star_client.objects import Fields, Json
from star_client.objects_results import Apart, Limits


class Claim(Fields):
    """The adapter against one rival on the held-out questions that both answered.

    `kind`: base_model, few_shot, majority_vote or direct_fine_tuning. `verdict`: helped,
    no_difference or worse.
    """

    kind: str
    against: str
    verdict: str
    accuracy: float
    difference: Apart
    sentence: str


class NotRun(Fields):
    """A rival that nothing is known of; `fix` says how to run it."""

    kind: str
    name: str
    fix: str


class PassPoint(Fields):
    """pass@k: the share of questions with a right answer among k."""

    k: int
    value: float
    interval: Limits


class Spread(Fields):
    """How varied one model's answers to a question are, on average. `iteration` 0: the base model."""

    iteration: int
    n: int
    solutions: float
    entropy: float
    passed: tuple[PassPoint, ...] = ()


class PassDifference(Fields):
    """The adapter's pass@k minus the base model's at the largest k of both, paired by question."""

    k: int
    n: int
    points: float
    interval: Limits


class Collapse(Fields):
    """Whether training has narrowed what the model can solve; None where it was not measured."""

    base: Spread | None = None
    adapter: Spread | None = None
    pass_difference: PassDifference | None = None
    held_out: Json | None = None
    train: Json | None = None
    sentences: tuple[str, ...] = ()


class Receipt(Fields):
    """`gain`: against the better few-shot baseline of the base model, which is what promotion asks for.

    p and intervals allow for the choice of one of `chosen_from` iterations. `verdict` is that of `gain`.
    """

    adapter: str | None = None
    iteration: int
    n: int
    correct: int
    accuracy: float | None = None
    interval: Limits | None = None
    chosen_from: int
    claims: tuple[Claim, ...] = ()
    not_run: tuple[NotRun, ...] = ()
    gain: Claim | None = None
    verdict: str
    sentence: str
    collapse: Collapse | None = None
