"""An adapter's receipt as `star` prints it."""

from __future__ import annotations

from star_client.cli.printing import Columns, console, print_all, print_json, print_text
from star_client.quality.receipts import Claim, NotRun, Receipt

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
