"""What the coach says after an iteration: star_engine.diagnostics.advice over what the job has recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import reading
from app.ledger.jobs.jobs import get_job
from app.ledger.jobs.outcomes import read_iterations
from app.ledger.results.counts import ambiguous_by_rule
from app.ledger.results.iterations import config_of, get_iteration
from app.tables.jobs import Iteration, Job
from star_engine.config.quiet_star import OuterLoop
from star_engine.diagnostics.advice import Change, Facts, advise


class AdviceOut(BaseModel):
    """What one rule says of an iteration."""

    object: Literal["advice"] = "advice"
    iteration: int
    code: Annotated[str, Field(description="The rule, such as cut_off.")]
    saw: Annotated[str, Field(description="The evidence, in a sentence.")]
    do: Annotated[str, Field(description="What to change, and why.")]
    change: Annotated[
        Change, Field(description="What is to change: settings, the prompt set, the dataset; or read texts.")
    ]
    evidence: Annotated[dict[str, float], Field(description="The figures of `saw`, by name.")]
    settings: Annotated[
        dict[str, Any],
        Field(description="To be merged into the job's `config` in a new job; empty where no setting helps."),
    ]


class AdviceListOut(BaseModel):
    object: Literal["list"] = "list"
    job: str
    iteration: Annotated[int | None, Field(description="Of which this is; null: nothing has begun.")]
    data: list[AdviceOut]


def read_advice(db: Engine, project_id: str, job_id: str, number: int | None = None) -> AdviceListOut:
    """What there is to say of an iteration; of the newest one that says something, where none is named."""
    with reading(db) as session:
        job = get_job(session, project_id, job_id)
        if number is not None:
            iteration, _ = get_iteration(session, job.id, number)
            return AdviceListOut(job=job.id, iteration=number, data=_said(session, job, iteration))
        newest = None
        for iteration in reversed(read_iterations(session, job)):
            newest = iteration.number if newest is None else newest
            if said := _said(session, job, iteration):
                return AdviceListOut(job=job.id, iteration=iteration.number, data=said)
            if iteration.metrics:
                break  # it is measured, and all is well: older advice is out of date
        return AdviceListOut(job=job.id, iteration=newest, data=[])


def _said(session: Session, job: Job, iteration: Iteration) -> list[AdviceOut]:
    config = config_of(job, iteration)
    if config.method is OuterLoop.QUIET_STAR:
        return []
    facts = Facts(config, iteration.number, iteration.metrics)
    if iteration.number:
        facts = replace(facts, first=_first(session, job))
    if facts.verdicts.get("ambiguous"):
        facts = replace(facts, ambiguous=ambiguous_by_rule(session, job.id, iteration.number))
    return [
        AdviceOut(
            iteration=iteration.number,
            code=one.code,
            saw=one.saw,
            do=one.do,
            change=one.change,
            evidence=dict(one.evidence),
            settings=dict(one.settings),
        )
        for one in advise(facts)
    ]


def _first(session: Session, job: Job) -> dict[str, Any]:
    return next((one.metrics for one in read_iterations(session, job) if one.number == 0), {})
