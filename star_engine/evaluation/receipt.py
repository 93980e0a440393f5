"""An adapter's receipt: what it gained on held-out questions, over what, and how sure that is.

Each comparison is a paired test on the questions that both have answered. p and intervals are corrected for
all iterations of the job from which the adapter can have been chosen (Bonferroni), as in a job's report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.answer import (
    Comparison,
    Rival,
    Verdict,
    Vote,
    capitalized,
    compare,
    compared_written,
)
from star_engine.evaluation.collapse import CollapseMeasures
from star_engine.evaluation.intervals import Interval, accuracy_interval, level_for_best_of
from star_engine.evaluation.report import ON_ANSWERS, STAR, Outcomes, percent, points, reference


class RivalKind(StrEnum):
    BASE_MODEL = "base_model"  # few-shot, answers alone
    FEW_SHOT = "few_shot"  # few-shot, with rationales
    MAJORITY_VOTE = "majority_vote"  # few-shot with rationales, a vote of many answers
    DIRECT_FINE_TUNING = "direct_fine_tuning"


NAMES = {
    RivalKind.BASE_MODEL: "the base model, answering directly",
    RivalKind.FEW_SHOT: "few-shot prompting with rationales",
    RivalKind.MAJORITY_VOTE: "few-shot prompting with a majority vote",
    RivalKind.DIRECT_FINE_TUNING: "direct fine-tuning",
}
MODES = {
    EvaluationMode.FEW_SHOT_DIRECT: RivalKind.BASE_MODEL,
    EvaluationMode.FEW_SHOT_COT: RivalKind.FEW_SHOT,
}
FIXES = {
    RivalKind.BASE_MODEL: "Add few_shot_direct to evaluation.baselines.",
    RivalKind.FEW_SHOT: "Add few_shot_cot to evaluation.baselines.",
    RivalKind.MAJORITY_VOTE: "Set evaluation.test_time with the method majority.",
    RivalKind.DIRECT_FINE_TUNING: "Create the job with the baseline direct-fine-tune.",
}
WORDS = {
    Verdict.HELPED: "better",
    Verdict.NO_DIFFERENCE: "no difference is shown",
    Verdict.WORSE: "worse",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """The adapter against one rival on the questions that both answered. `verdict` is the interval's."""

    kind: RivalKind
    comparison: Comparison
    sentence: str


@dataclass(frozen=True, slots=True)
class NotRun:
    """A rival that nothing is known of, and what to do about it."""

    kind: RivalKind
    name: str
    fix: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is known of one adapter on held-out questions. Shares are between 0 and 1."""

    iteration: int
    n: int  # held-out questions that it was asked; 0: it has not been evaluated
    correct: int
    accuracy: float | None
    interval: Interval | None  # corrected for the choice
    chosen_from: int  # iterations that could have been chosen: what is corrected for
    claims: tuple[Claim, ...]
    not_run: tuple[NotRun, ...]
    gain: Claim | None  # against the better few-shot baseline of the base model: what promotion asks for
    verdict: Verdict  # of `gain`
    sentence: str
    collapse: CollapseMeasures | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything recorded that a receipt is made from."""

    outcomes: Sequence[Outcomes]
    planned: int = 0  # iterations that the job may run; they count as choices
    direct: Mapping[int, bool] | None = None  # what direct fine-tuning got right
    vote: Vote | None = None  # of the base model
    collapse: CollapseMeasures | None = None


def make_receipt(evidence: Evidence, iteration: int, method: str = STAR) -> Receipt:
    """The receipt of the adapter of one iteration."""
    own = next((one for one in _trained(evidence) if one.iteration == iteration), None)
    k = max(evidence.planned, sum(1 for _ in _trained(evidence)), 1)
    rivals = dict(_rivals(evidence))
    claims = tuple(_claims(own, rivals, k)) if own else ()
    expected = [kind for kind in RivalKind if not _is_itself(kind, method)]
    not_run = tuple(NotRun(kind, NAMES[kind], FIXES[kind]) for kind in expected if kind not in rivals)
    gain = _gain(evidence, claims)
    n, correct = (len(own.correct), sum(own.correct.values())) if own else (0, 0)
    return Receipt(
        iteration=iteration,
        n=n,
        correct=correct,
        accuracy=correct / n if n else None,
        interval=accuracy_interval(correct, n, level_for_best_of(k)) if n else None,
        chosen_from=k,
        claims=claims,
        not_run=not_run,
        gain=gain,
        verdict=Verdict.UNKNOWN if gain is None else gain.comparison.verdict,
        sentence=_sentence(own, claims, not_run, k, evidence.collapse),
        collapse=evidence.collapse,
    )


def refusal(receipt: Receipt) -> str | None:
    """Why the adapter is not shown to be better than its base model; None where it is."""
    if not receipt.n:
        return "The adapter has not been evaluated on held-out questions."
    if receipt.gain is None:
        return "Nothing is known of the base model on the same held-out questions: the job ran no baseline."
    found = receipt.gain.comparison.difference
    if found.interval.low > 0:
        return None
    return (
        f"Its gain over {receipt.gain.comparison.against} is {points(found.points)} points on {found.n} "
        f"held-out questions, with a 95 % interval of {points(found.interval.low)} to "
        f"{points(found.interval.high)}, which "
        f"{'covers 0' if found.interval.high >= 0 else 'lies below 0'}."
    )


def _trained(evidence: Evidence) -> Iterator[Outcomes]:
    return (one for one in evidence.outcomes if one.mode is EvaluationMode.ADAPTER and one.correct)


def _is_itself(kind: RivalKind, method: str) -> bool:
    return kind is RivalKind.DIRECT_FINE_TUNING and method == ON_ANSWERS


def _rivals(evidence: Evidence) -> Iterator[tuple[RivalKind, Rival]]:
    for one in evidence.outcomes:
        if one.mode in MODES and one.correct:
            yield MODES[one.mode], Rival(NAMES[MODES[one.mode]], one.correct)
    vote = evidence.vote
    if vote is not None and vote.correct:
        kind = RivalKind.MAJORITY_VOTE
        yield kind, Rival(f"{NAMES[kind]} of {vote.answers}", vote.correct)
    if evidence.direct:
        kind = RivalKind.DIRECT_FINE_TUNING
        yield kind, Rival(NAMES[kind], evidence.direct)


def _claims(own: Outcomes, rivals: Mapping[RivalKind, Rival], k: int) -> Iterator[Claim]:
    for kind in RivalKind:
        found = compare(own, rivals[kind], k) if kind in rivals else None
        if found is not None:
            said = f"{capitalized(found.against)} gets {compared_written(found)}: {WORDS[found.verdict]}."
            yield Claim(kind, found, said)


def _gain(evidence: Evidence, claims: Sequence[Claim]) -> Claim | None:
    best = reference(evidence.outcomes)
    wanted = None if best is None else MODES[best.mode]
    return next((one for one in claims if one.kind is wanted), None)


def _sentence(
    own: Outcomes | None,
    claims: Sequence[Claim],
    not_run: Sequence[NotRun],
    k: int,
    collapse: CollapseMeasures | None,
) -> str:
    if own is None:
        return "Not evaluated on held-out questions: nothing is known of what it gained."
    n, correct = len(own.correct), sum(own.correct.values())
    between = accuracy_interval(correct, n, level_for_best_of(k))
    parts = [
        (
            f"Iteration {own.iteration} gets {percent(correct / n)} of {n} held-out questions right (95 % "
            f"interval {percent(between.low)} to {percent(between.high)})."
        ),
        *(one.sentence for one in claims),
    ]
    if k > 1:
        parts.append(f"Intervals and p allow for choosing one of {k} iterations.")
    if not_run:
        parts.append(f"Not run: {', '.join(one.name for one in not_run)}.")
    parts += [] if collapse is None else collapse.sentences
    return " ".join(parts)
