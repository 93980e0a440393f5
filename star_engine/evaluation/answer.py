"""Did STaR help? Its iterations against few-shot prompting and direct fine-tuning, in one sentence each.

The iteration is chosen on the same held-out questions that it is reported on, which flatters it. So p, the
interval of the difference and that of the accuracy are corrected for all iterations that could be chosen
(Bonferroni): they hold whichever is chosen, whenever the job stops and whenever somebody looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.intervals import Interval, accuracy_interval, level_for_best_of
from star_engine.evaluation.report import (
    ON_ANSWERS,
    ON_SOLUTIONS,
    STAR,
    Difference,
    Outcomes,
    difference,
    percent,
    points,
    reference,
)

FEW_SHOT = "few-shot prompting"
DIRECT = "direct fine-tuning"


class Verdict(StrEnum):
    HELPED = "helped"
    NO_DIFFERENCE = "no_difference"  # none that these held-out examples could show
    WORSE = "worse"
    UNKNOWN = "unknown"  # nothing to compare yet


WORDS = {
    Verdict.HELPED: "helped",
    Verdict.NO_DIFFERENCE: "no difference",
    Verdict.WORSE: "worse",
    Verdict.UNKNOWN: "not known yet",
}


@dataclass(frozen=True, slots=True)
class Rival:
    """What an iteration is compared with, and which held-out examples that got right."""

    name: str
    correct: Mapping[int, bool]  # row id of the example


@dataclass(frozen=True, slots=True)
class Vote:
    """The base model's majority vote, few-shot, over all answers that it gave to a question."""

    answers: int  # to each question
    correct: Mapping[int, bool]  # by row id of the example; a tie is wrong


@dataclass(frozen=True, slots=True)
class Comparison:
    """The chosen iteration against one rival; p and interval are corrected for the choice."""

    against: str
    verdict: Verdict
    accuracy: float  # of the rival
    difference: Difference


@dataclass(frozen=True, slots=True)
class Collapse:
    """Whether the last iteration lost the chosen one's gain; p and interval are corrected for the choice."""

    iteration: int
    accuracy: float
    difference: Difference  # to the chosen iteration


@dataclass(frozen=True, slots=True)
class Answer:
    """Did STaR help here, and how sure is that? `verdict` is that of the least favourable comparison."""

    verdict: Verdict
    sentence: str
    iteration: int | None  # the one with most right answers, the earlier one on a tie
    p_value: float | None  # of the least favourable comparison
    chosen_from: int = 0  # iterations that could have been chosen: what is corrected for
    accuracy: float | None = None  # of that iteration, with the interval corrected for the choice
    interval: Interval | None = None
    comparisons: tuple[Comparison, ...] = ()
    not_run: tuple[str, ...] = ()  # rivals that nothing is known of
    collapse: Collapse | None = None


def best_iteration(outcomes: Sequence[Outcomes]) -> Outcomes | None:
    """The iteration with the highest accuracy, the earlier one on a tie."""
    trained = [item for item in outcomes if item.mode is EvaluationMode.ADAPTER and item.correct]
    return max(trained, key=lambda item: (item.share, -item.iteration), default=None)


def answer(
    outcomes: Sequence[Outcomes],
    method: str = STAR,
    *,
    planned: int = 0,
    direct: Mapping[int, bool] | None = None,
    vote: Vote | None = None,
) -> Answer:
    """Answer "did STaR help?" from everything recorded on the held-out examples.

    planned: iterations that the job may run. They count as choices even where it stopped or is looked at
    earlier, since when that happens may hang on what they brought. direct: the outcome of direct fine-tuning
    on the same examples, where it was run. vote: that of the base model, where it was measured.
    """
    best = best_iteration(outcomes)
    few_shot = reference(outcomes)
    rivals = [Rival(few_shot_name(few_shot), few_shot.correct)] if few_shot else []
    if vote is not None and vote.correct:
        rivals.append(Rival(f"{FEW_SHOT} with a majority vote of {vote.answers}", vote.correct))
    rivals += [Rival(DIRECT, direct)] if direct else []
    missing = _not_run(method, few_shot, direct)
    if best is None:
        return _unknown(method, "no iteration has been evaluated on the held-out examples", None, missing)
    trained = [item for item in outcomes if item.mode is EvaluationMode.ADAPTER and item.correct]
    k = max(planned, len(trained))
    compared = [found for rival in rivals if (found := compare(best, rival, k)) is not None]
    if not compared:
        why = "nothing that it is compared with has answered the same held-out examples"
        return _unknown(method, why, best.iteration, missing)
    deciding = min(compared, key=lambda one: (_ORDER.index(one.verdict), one.difference.points))
    collapse = _collapse(best, max(trained, key=lambda item: item.iteration), k)
    n, right = len(best.correct), sum(best.correct.values())
    return Answer(
        verdict=deciding.verdict,
        sentence=_sentence(method, best, compared, deciding, k, missing, collapse),
        iteration=best.iteration,
        p_value=deciding.difference.p_value,
        chosen_from=k,
        accuracy=right / n,
        interval=accuracy_interval(right, n, level_for_best_of(k)),
        comparisons=tuple(compared),
        not_run=missing,
        collapse=collapse,
    )


_ORDER = (Verdict.WORSE, Verdict.NO_DIFFERENCE, Verdict.HELPED)


def few_shot_name(item: Outcomes) -> str:
    cot = item.mode is EvaluationMode.FEW_SHOT_COT
    return f"{FEW_SHOT} {'with' if cot else 'without'} rationales"


def _not_run(method: str, few_shot: Outcomes | None, direct: Mapping[int, bool] | None) -> tuple[str, ...]:
    missing = [] if few_shot else [FEW_SHOT]
    if not direct and method not in (ON_ANSWERS, ON_SOLUTIONS):
        missing.append(DIRECT)
    return tuple(missing)


def _unknown(method: str, why: str, iteration: int | None, missing: tuple[str, ...]) -> Answer:
    sentence = f"Whether {method} helps here is not known: {why}.{_missing(missing)}"
    return Answer(Verdict.UNKNOWN, sentence, iteration, None, not_run=missing)


def compare(best: Outcomes, rival: Rival, k: int) -> Comparison | None:
    found = difference(best.correct, rival.correct, choices=k)
    if found is None:
        return None
    accuracy = sum(rival.correct.values()) / len(rival.correct)
    return Comparison(rival.name, verdict_of(found), accuracy, found)


def verdict_of(found: Difference) -> Verdict:
    """Return the verdict of the interval, which contains zero wherever the corrected sign test
    does not reject.
    """
    if found.interval.low > 0:
        return Verdict.HELPED
    return Verdict.WORSE if found.interval.high < 0 else Verdict.NO_DIFFERENCE


def _collapse(best: Outcomes, last: Outcomes, k: int) -> Collapse | None:
    found = None if last.iteration == best.iteration else difference(last.correct, best.correct, choices=k)
    if found is None or verdict_of(found) is not Verdict.WORSE:
        return None
    return Collapse(last.iteration, last.share, found)


def _sentence(
    method: str,
    best: Outcomes,
    compared: Sequence[Comparison],
    deciding: Comparison,
    k: int,
    missing: tuple[str, ...],
    collapse: Collapse | None,
) -> str:
    opening = {
        Verdict.HELPED: f"Yes, {method} helped here",
        Verdict.NO_DIFFERENCE: f"{method} is not shown to differ here from {deciding.against}",
        Verdict.WORSE: f"No, {method} is worse here than {deciding.against}",
    }[deciding.verdict]
    choice = "" if k == 1 else f" Intervals and p allow for choosing one of {k} iterations."
    text = (
        f"{opening}: iteration {best.iteration} gets {percent(best.share)} of {len(best.correct)} held-out "
        f"examples right, {deciding.against} {compared_written(deciding)}."
    )
    for one in compared:
        if one is not deciding:
            text += (
                f" {capitalized(one.against)} gets {compared_written(one)}: {_found(method, one.verdict)}."
            )
    return text + choice + _missing(missing) + _collapsed(collapse)


def _found(method: str, verdict: Verdict) -> str:
    better_or_worse = f"{method} is {'better' if verdict is Verdict.HELPED else 'worse'}"
    return "no difference is shown" if verdict is Verdict.NO_DIFFERENCE else better_or_worse


def compared_written(one: Comparison) -> str:
    found = one.difference
    return (
        f"{percent(one.accuracy)}, a difference of {gap_written(found)}; {found.gained} examples gained, "
        f"{found.lost} lost; {p_written(found.p_value)})"
    )


def gap_written(found: Difference) -> str:
    low, high = points(found.interval.low), points(found.interval.high)
    return f"{points(found.points)} points (95 % interval {low} to {high}"


def _missing(missing: tuple[str, ...]) -> str:
    if not missing:
        return ""
    listed = " and ".join(missing)
    return f" {capitalized(listed)} {'was' if len(missing) == 1 else 'were'} not run."


def _collapsed(found: Collapse | None) -> str:
    if found is None:
        return ""
    return (
        f" Accuracy fell again afterwards: iteration {found.iteration}, the last one, gets "
        f"{percent(found.accuracy)}, {gap_written(found.difference)})."
    )


def capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def p_written(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
