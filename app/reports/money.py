"""What a job has cost, as rows of its report."""

from __future__ import annotations

from collections.abc import Mapping

from app.ledger.jobs.report import Coverage, JobReport
from app.ledger.platform.prices import Held, Prices, added_up, why_no_price
from app.reports.accuracies import NONE

HEADER = ("iteration", "GPU-hours", "cost", "newly solved", "cost of each")


def text(held: Mapping[int, Held], prices: Prices) -> str:
    unpriced = added_up(held).unpriced(prices)
    if unpriced:
        return f"GPU time of ended attempts. {why_no_price(unpriced)} What it is part of has no number."
    return (
        "GPU time of ended attempts, at the prices that are set now. Newly solved: train questions solved "
        "without a hint for the first time; iteration 1 asks the base model, which has learned nothing yet."
    )


def rows(report: JobReport, prices: Prices) -> tuple[tuple[str, ...], ...]:
    solved = {row.iteration: _newly(row) for row in report.coverage}
    each = [_row(str(number), held, prices, solved.get(number)) for number, held in report.held.items()]
    later = sum(count or 0 for number, count in solved.items() if number > 1)
    return (*each, _row("all, and newly solved from iteration 2 on", added_up(report.held), prices, later))


def _row(name: str, held: Held, prices: Prices, solved: int | None) -> tuple[str, ...]:
    amount = held.cost(prices)
    each = None if amount is None or not solved else amount / solved
    count = NONE if solved is None else str(solved)
    hours = f"{sum(held.hours.values()):.4f}"
    return (name, hours, _money(amount, prices.currency), count, _money(each, prices.currency))


def _newly(row: Coverage) -> int | None:
    return None if row.churn is None else row.churn.newly_solved


def _money(amount: float | None, currency: str) -> str:
    if amount is None:
        return NONE
    return f"{amount:.2f} {currency}" if amount >= 1 or amount == 0 else f"{amount:.4f} {currency}"
