"""An adapter's receipt as `star` prints it."""

from __future__ import annotations

from star_client.cli.printing import Columns, console, print_all, print_json, print_text
from star_client.objects import Fields
from star_client.quality.receipts import Claim, Collapse, NotRun, PassPoint, Receipt

CLAIM: Columns[Claim] = {
    "against": lambda one: one.against,
    "outcome": lambda one: one.verdict.replace("_", " "),
    "n": lambda one: one.difference.n,
    "its accuracy": lambda one: f"{100 * one.accuracy:.1f} %",
    "difference": lambda one: f"{100 * one.difference.points:+.1f}",
    "95 % interval": lambda one: (
        f"{100 * one.difference.interval.low:+.1f} to {100 * one.difference.interval.high:+.1f}"
    ),
    "gained": lambda one: one.difference.gained,
    "lost": lambda one: one.difference.lost,
    "p": lambda one: f"{one.difference.p_value:.3f}",
}
NOT_RUN: Columns[NotRun] = {"not run": lambda one: one.name, "to run it": lambda one: one.fix}


class Measured(Fields):
    """A measure of many answers to each question, of both models."""

    measure: str
    base: str
    adapter: str


MEASURED: Columns[Measured] = {
    "many answers to a question": lambda one: one.measure,
    "base model": lambda one: one.base,
    "this adapter": lambda one: one.adapter,
}


def measured(found: Collapse | None) -> list[Measured]:
    """pass@k of both models, distinct solutions and entropy; nothing where one of them was not asked so."""
    if found is None or found.base is None or found.adapter is None:
        return []
    base, adapter = ({point.k: point for point in one.passed} for one in (found.base, found.adapter))
    rows = [
        Measured(measure=f"pass@{k}", base=_share(base[k]), adapter=_share(adapter[k]))
        for k in sorted(base.keys() & adapter.keys())
    ]
    for name, label in (("solutions", "distinct solutions"), ("entropy", "entropy, bits")):
        both = (f"{getattr(one, name):.2f}" for one in (found.base, found.adapter))
        rows.append(Measured(measure=label, base=next(both), adapter=next(both)))
    return rows


def _share(point: PassPoint) -> str:
    low, high = 100 * point.interval.low, 100 * point.interval.high
    return f"{100 * point.value:.1f} % ({low:.1f} to {high:.1f})"


def show_receipt(found: Receipt, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_text(found.verdict.replace("_", " "), found.sentence)
    if found.claims:
        console.print()
        print_all(found.claims, CLAIM, as_json)
    if found.not_run:
        console.print()
        print_all(found.not_run, NOT_RUN, as_json)
    if rows := measured(found.collapse):
        console.print()
        print_all(rows, MEASURED, as_json)
