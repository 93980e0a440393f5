"""Bills: what a job or a project has cost, where the deployment has set prices."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from sqlalchemy import Engine

from app.database import reading
from app.ledger.jobs.jobs import get_job
from app.ledger.jobs.report import read_coverage
from app.ledger.platform.keys import Caller
from app.ledger.platform.prices import (
    Held,
    Prices,
    added_up,
    held_by_iteration,
    held_by_job,
    prices_of,
    why_no_price,
)
from app.ledger.platform.projects import meant_project
from app.settings import Settings

Amount = Annotated[
    float | None, Field(description="null where a part of it has no price: see `unavailable`.")
]


class ClassCostOut(BaseModel):
    """GPU-hours of one class."""

    gpu_class: Annotated[str | None, Field(description="null: of workers that state none.")]
    gpu_hours: float
    price_per_hour: float | None
    amount: Amount


class CostOut(BaseModel):
    """What GPU time of ended claims costs at the prices that are set now."""

    currency: str
    gpu_hours: Annotated[float, Field(description="A worker with two GPUs holds two of them.")]
    amount: Amount
    unavailable: Annotated[str | None, Field(description="Why there is no amount.")]


class IterationCostOut(CostOut):
    iteration: Annotated[int, Field(description="0: the baselines.")]
    newly_solved: Annotated[
        int | None, Field(description="Train questions solved without a hint for the first time.")
    ]
    amount_per_newly_solved: Amount


class JobBillOut(CostOut):
    object: Literal["bill"] = "bill"
    job: str
    by_class: list[ClassCostOut]
    iterations: list[IterationCostOut]
    newly_solved: Annotated[
        int,
        Field(description="From iteration 2 on: iteration 1 asks the base model."),
    ]
    amount_per_newly_solved: Annotated[
        float | None,
        Field(description="The whole job's amount divided by them; null where there is none."),
    ]


class JobCostOut(CostOut):
    job: str


class ProjectBillOut(CostOut):
    object: Literal["bill"] = "bill"
    project: str
    since: date | None
    until: date | None
    by_class: list[ClassCostOut]
    jobs: list[JobCostOut]


def read_job_bill(db: Engine, caller: Caller, job_id: str, settings: Settings) -> JobBillOut:
    prices = prices_of(settings)
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        held = held_by_iteration(session, job.id)
        solved = {
            row.iteration: None if row.churn is None else row.churn.newly_solved
            for row in read_coverage(session, job)
        }
    whole = added_up(held)
    newly = sum(count or 0 for number, count in solved.items() if number > 1)
    return JobBillOut(
        job=job_id,
        **_cost(whole, prices),
        by_class=_by_class(whole, prices),
        iterations=[
            IterationCostOut(
                iteration=number,
                newly_solved=solved.get(number),
                amount_per_newly_solved=per_question(part.cost(prices), solved.get(number)),
                **_cost(part, prices),
            )
            for number, part in held.items()
        ],
        newly_solved=newly,
        amount_per_newly_solved=per_question(whole.cost(prices), newly),
    )


def read_project_bill(
    db: Engine,
    caller: Caller,
    settings: Settings,
    *,
    project: str | None = None,
    since: date | None = None,
    until: date | None = None,
) -> ProjectBillOut:
    """Of a project, by job; operators may name another project, a deleted one too."""
    prices = prices_of(settings)
    with reading(db) as session:
        project_id = meant_project(session, caller, project, with_deleted=True)
        held = held_by_job(session, project_id, since, until)
    whole = added_up(held)
    return ProjectBillOut(
        project=project_id,
        since=since,
        until=until,
        **_cost(whole, prices),
        by_class=_by_class(whole, prices),
        jobs=[JobCostOut(job=job, **_cost(part, prices)) for job, part in held.items()],
    )


def read_cost_now(db: Engine, job_id: str, settings: Settings) -> CostOut | None:
    """What a job has cost so far, for its page; None where nobody has set a price."""
    if not settings.gpu_prices:
        return None
    with reading(db) as session:
        held = added_up(held_by_iteration(session, job_id))
    return CostOut(**_cost(held, prices_of(settings)))


def per_question(amount: float | None, questions: int | None) -> float | None:
    return None if amount is None or not questions else round(amount / questions, 6)


def _cost(held: Held, prices: Prices) -> dict[str, str | float | None]:
    amount, unpriced = held.cost(prices), held.unpriced(prices)
    return {
        "currency": prices.currency,
        "gpu_hours": round(sum(held.hours.values()), 6),
        "amount": None if amount is None else round(amount, 6),
        "unavailable": why_no_price(unpriced) if unpriced else None,
    }


def _by_class(held: Held, prices: Prices) -> list[ClassCostOut]:
    return [
        ClassCostOut(
            gpu_class=name or None,
            gpu_hours=round(hours, 6),
            price_per_hour=(price := prices.of(name)),
            amount=None if price is None else round(price * hours, 6),
        )
        for name, hours in sorted(held.hours.items())
    ]
