"""What the answer of a report rests on: one iteration against its rivals, and the spread over seeds."""

from __future__ import annotations

from star_engine.evaluation.answer import WORDS, Answer
from star_engine.evaluation.intervals import Interval
from star_engine.evaluation.replicates import OverSeeds
from star_engine.evaluation.report import percent, points

NONE = "–"
AGAINST_HEADER = ("against", "outcome", "its accuracy", "difference", "95 % interval", "gained", "lost", "p")
SEEDS_HEADER = ("seed", "job", "iteration", "accuracy", "against few-shot")


def against_rows(answer: Answer) -> tuple[tuple[str, ...], ...]:
    """Return one row per comparison; those that were not run come last."""
    rows = [
        (
            one.against,
            WORDS[one.verdict],
            percent(one.accuracy),
            points(one.difference.points),
            _points_between(one.difference.interval),
            str(one.difference.gained),
            str(one.difference.lost),
            f"{one.difference.p_value:.3f}",
        )
        for one in answer.comparisons
    ]
    return (*rows, *((name, "not run", *(NONE,) * 6) for name in answer.not_run))


def against_text(answer: Answer) -> str:
    return (
        f"Iteration {answer.iteration} against what it has to beat. Intervals and p are corrected for "
        f"choosing one of {answer.chosen_from} iterations on the same questions (Bonferroni)."
    )


def seed_rows(found: OverSeeds) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            str(one.seed),
            one.job,
            NONE if one.iteration is None else str(one.iteration),
            NONE if one.accuracy is None else percent(one.accuracy),
            NONE if one.points is None else points(one.points),
        )
        for one in found.replicates
    )


def seeds_text(found: OverSeeds) -> str:
    text = "The last iteration of the same job with each seed: nobody chose it."
    if found.accuracy is None:
        return f"{text} Fewer than two are evaluated, so nothing can be said of their spread yet."
    spread = found.accuracy
    between = f"{percent(spread.interval.low)} to {percent(spread.interval.high)}"
    text += (
        f" Mean accuracy over {spread.n} seeds {percent(spread.mean)}, standard deviation "
        f"{100 * spread.sd:.1f} points, 95 % interval of the mean {between} (Student)."
    )
    if found.points is not None:
        apart = f"{points(found.points.mean)} points ({_points_between(found.points.interval)})"
        text += f" Mean difference to few-shot prompting {apart}."
    return text


def _points_between(interval: Interval) -> str:
    return f"{points(interval.low)} to {points(interval.high)}"
