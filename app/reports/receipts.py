"""The parts of a report, and of an adapter's page, that its receipt makes: tables and one chart."""

from __future__ import annotations

from collections.abc import Iterator

from app.reports.accuracies import NONE
from star_engine.evaluation.answer import WORDS
from star_engine.evaluation.collapse import CollapseMeasures, Spread, pass_lines
from star_engine.evaluation.receipt import Receipt
from star_engine.evaluation.report import percent, points

HEADER = ("against", "outcome", "questions", "its accuracy", "difference", "95 % interval", "p")
COLLAPSE_HEADER = ("measure", "base model", "trained model")
COLLAPSE_TEXT = (
    "Self-training is known to make a model more certain of what it could do already, at the cost of the "
    "rest: then pass@k falls below the base model's at large k, and answers become more alike."
)


def rows(receipt: Receipt) -> tuple[tuple[str, ...], ...]:
    """A row for each rival; those that were not run come last, with what would run them."""
    found = [
        (
            one.comparison.against,
            WORDS[one.comparison.verdict],
            str(one.comparison.difference.n),
            percent(one.comparison.accuracy),
            points(one.comparison.difference.points),
            (
                f"{points(one.comparison.difference.interval.low)} to "
                f"{points(one.comparison.difference.interval.high)}"
            ),
            f"{one.comparison.difference.p_value:.3f}",
        )
        for one in receipt.claims
    ]
    return (*found, *((one.name, f"not run. {one.fix}", *(NONE,) * 5) for one in receipt.not_run))


def collapse_rows(found: CollapseMeasures) -> tuple[tuple[str, ...], ...]:
    return tuple(_collapse_rows(found))


def pass_chart(found: CollapseMeasures) -> tuple[dict[str, tuple[tuple[int, float], ...]], tuple[str, ...]]:
    """Lines by the place of k among the ticks, and the ticks."""
    shown = pass_lines(found)
    ks = sorted({point.k for one in shown.values() for point in one})
    lines = {name: tuple((ks.index(point.k), point.value) for point in one) for name, one in shown.items()}
    return lines, tuple(map(str, ks))


def _collapse_rows(found: CollapseMeasures) -> Iterator[tuple[str, ...]]:
    base, adapter = found.base, found.adapter
    if base is not None or adapter is not None:
        yield ("pass@k at the largest k", _pass(base), _pass(adapter))
        yield ("distinct solutions of a solved question", *(_of(one, "solutions") for one in (base, adapter)))
        yield ("entropy of the answers, bits", *(_of(one, "entropy") for one in (base, adapter)))
    if found.held_out is not None:
        yield ("held-out questions newly solved", NONE, str(found.held_out.newly_solved))
        yield ("held-out questions forgotten", NONE, str(found.held_out.forgotten))
    if found.train is not None:
        yield ("train questions newly solved", NONE, str(found.train.newly_solved))
        yield ("train questions forgotten", NONE, str(found.train.forgotten))


def _pass(one: Spread | None) -> str:
    if one is None or not one.passed:
        return NONE
    last = one.passed[-1]
    return (
        f"{percent(last.value)} (k = {last.k}; {percent(last.interval.low)} to {percent(last.interval.high)})"
    )


def _of(one: Spread | None, name: str) -> str:
    return NONE if one is None else f"{getattr(one, name):.2f}"
