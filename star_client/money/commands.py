"""star bill, star jobs bill."""

from __future__ import annotations

import typer

from star_client.cli.invocation import AsJson, JobId, star
from star_client.cli.printing import Columns, console, print_all, print_json
from star_client.cli.project.team import Day
from star_client.money.bills import Cost, IterationCost, JobBill, JobCost

ITERATION: Columns[IterationCost] = {
    "iteration": lambda one: one.iteration,
    "GPU-hours": lambda one: one.gpu_hours,
    "cost": lambda one: money(one.amount, one.currency),
    "newly solved": lambda one: one.newly_solved,
    "cost of each": lambda one: money(one.amount_per_newly_solved, one.currency),
}
JOB_COST: Columns[JobCost] = {
    "job": lambda one: one.job,
    "GPU-hours": lambda one: one.gpu_hours,
    "cost": lambda one: money(one.amount, one.currency),
}


def job_bill(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """What a job's GPU time has cost, by iteration and for each newly solved train question."""
    found = star(context).bills.of_job(job_id)
    if as_json:
        return print_json(found)
    print_all(found.iterations, ITERATION, as_json)
    console.print(f"{in_all(found)}{for_each(found)}")
    return None


def project_bill(
    context: typer.Context, since: Day = None, until: Day = None, as_json: AsJson = False
) -> None:
    """What the project's GPU time has cost, by job."""
    found = star(context).bills.of_project(since=since and since.date(), until=until and until.date())
    if as_json:
        return print_json(found)
    print_all(found.jobs, JOB_COST, as_json)
    console.print(in_all(found))
    return None


def money(amount: float | None, currency: str) -> str | None:
    """With four digits below 1, where cents say nothing."""
    if amount is None:
        return None
    return f"{amount:.2f} {currency}" if amount >= 1 or amount == 0 else f"{amount:.4f} {currency}"


def in_all(found: Cost) -> str:
    said = money(found.amount, found.currency) or f"no amount: {found.unavailable}"
    return f"{found.gpu_hours:.3f} GPU-hours in all, {said}"


def for_each(found: JobBill) -> str:
    each = money(found.amount_per_newly_solved, found.currency)
    return (
        f"; {each} for each of {found.newly_solved} questions solved after the first training" if each else ""
    )
