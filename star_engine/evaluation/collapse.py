"""Whether training has narrowed what a model can solve: pass@k, distinct solutions, what was forgotten.

The best-known failure of self-training is a model that is more accurate with one answer and solves fewer
questions with many: its pass@k falls below the base model's at large k, and its answers grow alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from star_engine.evaluation.intervals import Interval, mean_difference_interval, share_interval
from star_engine.evaluation.report import Churn, Outcomes, points


@dataclass(frozen=True, slots=True)
class QuestionSpread:
    """How varied one model's answers to one held-out question are."""

    right: int
    solutions: int  # distinct ones among the right texts
    entropy: float  # of the stated answers, in bits
    passed: tuple[float, ...]  # pass@k for each k of `Measured.ks`


@dataclass(frozen=True, slots=True)
class Measured:
    """One model's many answers to held-out questions, by the question's row id."""

    iteration: int  # 0: the base model
    ks: tuple[int, ...]
    questions: Mapping[int, QuestionSpread]


def measured_of(iteration: int, ks: Sequence[int], questions: Mapping[int, QuestionSpread]) -> Measured:
    """ks: of the curves; there is no pass@k where a question has no such curve."""
    has_pass = all(len(one.passed) == len(ks) for one in questions.values())
    return Measured(iteration, tuple(ks) if has_pass else (), questions)


@dataclass(frozen=True, slots=True)
class PassPoint:
    k: int
    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Spread:
    """How varied one model's answers to a question are, on average."""

    iteration: int
    n: int  # questions
    solutions: float  # distinct right texts of a question that has one
    entropy: float  # of the answers to a question, in bits
    passed: tuple[PassPoint, ...]  # pass@k


@dataclass(frozen=True, slots=True)
class PassDifference:
    """The adapter's pass@k minus the base model's at the largest k of both, paired by question."""

    k: int
    n: int
    points: float
    interval: Interval

    @property
    def narrowed(self) -> bool:
        """Whether the adapter is shown to solve fewer questions than the base model."""
        return self.interval.high < 0


@dataclass(frozen=True, slots=True)
class HeldOutChange:
    """Held-out questions against the better few-shot baseline; the four add up to those both answered."""

    newly_solved: int
    forgotten: int
    retained: int
    never: int


@dataclass(frozen=True, slots=True)
class CollapseMeasures:
    """What there is to tell a collapse by; null where it was not measured."""

    base: Spread | None
    adapter: Spread | None
    pass_difference: PassDifference | None
    held_out: HeldOutChange | None
    train: Churn | None  # of the train questions that the iteration tried without a hint
    sentences: tuple[str, ...]


def measure_collapse(
    measured: Sequence[Measured],
    iteration: int,
    own: Outcomes | None = None,
    baseline: Outcomes | None = None,
    train: Churn | None = None,
) -> CollapseMeasures:
    """`measured`: of any iterations; the base model's (0) and this one's are used. baseline: the better
    few-shot one.
    """
    base, adapter = (next((one for one in measured if one.iteration == n), None) for n in (0, iteration))
    apart = None if base is None or adapter is None else _pass_difference(base, adapter)
    spreads = [None if one is None or not one.questions else _spread(one) for one in (base, adapter)]
    changed = None if own is None or baseline is None else _changed(own.correct, baseline.correct)
    return CollapseMeasures(
        base=spreads[0],
        adapter=spreads[1],
        pass_difference=apart,
        held_out=changed,
        train=train,
        sentences=tuple(_said(spreads[0], spreads[1], apart, changed)),
    )


def _spread(one: Measured) -> Spread:
    questions = list(one.questions.values())
    solved = [question.solutions for question in questions if question.right]
    columns = [[question.passed[at] for question in questions] for at in range(len(one.ks))]
    return Spread(
        iteration=one.iteration,
        n=len(questions),
        solutions=sum(solved) / len(solved) if solved else 0.0,
        entropy=sum(question.entropy for question in questions) / len(questions),
        passed=tuple(
            PassPoint(k, sum(column) / len(column), share_interval(column))
            for k, column in zip(one.ks, columns, strict=True)
        ),
    )


def _pass_difference(base: Measured, adapter: Measured) -> PassDifference | None:
    both = sorted(base.questions.keys() & adapter.questions.keys())
    ks = set(base.ks) & set(adapter.ks)
    if not both or not ks:
        return None
    k = max(ks)
    at_base, at_adapter = base.ks.index(k), adapter.ks.index(k)
    theirs = [base.questions[question].passed[at_base] for question in both]
    ours = [adapter.questions[question].passed[at_adapter] for question in both]
    mean = (sum(ours) - sum(theirs)) / len(both)
    return PassDifference(k, len(both), mean, mean_difference_interval(ours, theirs))


def _changed(own: Mapping[int, bool], before: Mapping[int, bool]) -> HeldOutChange | None:
    both = own.keys() & before.keys()
    if not both:
        return None
    pairs = [(before[question], own[question]) for question in both]
    return HeldOutChange(
        newly_solved=pairs.count((False, True)),
        forgotten=pairs.count((True, False)),
        retained=pairs.count((True, True)),
        never=pairs.count((False, False)),
    )


def _said(
    base: Spread | None, adapter: Spread | None, apart: PassDifference | None, changed: HeldOutChange | None
) -> list[str]:
    said = []
    if changed is not None:
        said.append(
            f"Of the held-out questions {changed.newly_solved} are newly solved and {changed.forgotten} "
            "forgotten."
        )
    if apart is not None:
        low, high = points(apart.interval.low), points(apart.interval.high)
        found = (
            "training has narrowed what the model can solve"
            if apart.narrowed
            else ("it is not shown to solve fewer questions")
        )
        said.append(
            f"With {apart.k} answers to a question pass@{apart.k} differs from the base model's by "
            f"{points(apart.points)} points (95 % interval {low} to {high}): {found}."
        )
    if base is not None and adapter is not None:
        said.append(
            f"Distinct solutions of a solved question: {adapter.solutions:.1f}, of the base model "
            f"{base.solutions:.1f}; entropy of the answers {adapter.entropy:.2f} bits, of the base model "
            f"{base.entropy:.2f}."
        )
    return said


def pass_lines(found: CollapseMeasures) -> dict[str, Sequence[PassPoint]]:
    """pass@k of the base model and of the adapter, for one chart; nothing where it was not measured."""
    shown = {"base model": found.base, "adapter": found.adapter}
    return {name: one.passed for name, one in shown.items() if one is not None and one.passed}
