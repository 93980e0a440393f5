"""Asking a trained adapter: a few questions, or a whole dataset."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Annotated, Any, Literal

import anyio
from fastapi import Query, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from sqlalchemy import Engine

from app.database import reading, transaction
from app.http.auth import Reader, Submitter
from app.http.dependencies import Config, Db
from app.http.router import api_router
from app.http.schemas import Resource
from app.jobs.trial import EvaluationIn, TrialIn, check_evaluation, check_trial
from app.jobs.views import JobOut, show_job
from app.ledger.jobs.jobs import create_job
from app.ledger.jobs.trials import Asked, create_trial, get_trial
from app.ledger.results.adapters import get_adapter
from app.ledger.transitions import TERMINAL
from app.tables.jobs import Job
from app.tables.rationales import TrialAnswer
from app.tables.statuses import JobStatus

router = api_router("adapters", "/v1")

POLL_SECONDS = 0.25


class TrialAnswerOut(BaseModel):
    asked: Asked
    position: int
    question: str
    text: str | None
    extracted: str | None
    verdict: str | None
    tokens: int | None
    finish_reason: str | None


class TrialOut(Resource):
    object: Literal["trial"] = "trial"
    adapter: str
    status: JobStatus
    is_terminal: bool
    status_reason: dict[str, Any] | None
    answers: list[TrialAnswerOut]


@router.post("/adapters/{adapter_id}/generate", status_code=202, summary="Ask an adapter a few questions")
def generate(
    caller: Submitter, db: Db, settings: Config, response: Response, adapter_id: str, sent: TrialIn
) -> TrialOut:
    """A worker that holds the base model warm answers first. Follow it with GET /v1/trials/{id}?wait=30."""
    asked: list[Asked] = ["base", "adapter"] if sent.beside_base else ["adapter"]
    with transaction(db) as session:
        adapter, job = get_adapter(session, caller.project_id, adapter_id)
        new, examples = check_trial(session, adapter, job, sent)
        trial = create_trial(session, caller.project_id, caller.key_id, new, examples, asked, settings)
        response.headers["Location"] = f"/v1/trials/{trial.id}"
        return _out(*get_trial(session, caller.project_id, trial.id))


@router.get("/trials/{trial_id}", summary="Get the answers to a few questions")
async def trial(
    caller: Reader,
    db: Db,
    trial_id: str,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for the last answer.")] = 0,
) -> TrialOut:
    """Async, so that clients who wait do not occupy the threads that serve the others."""
    deadline = monotonic() + wait
    while True:
        found = await run_in_threadpool(_read, db, caller.project_id, trial_id)
        left = deadline - monotonic()
        if found.is_terminal or left <= 0:
            return found
        await anyio.sleep(min(POLL_SECONDS, left))


@router.post("/adapters/{adapter_id}/evaluate", status_code=202, summary="Measure an adapter on a dataset")
def evaluate(
    caller: Submitter, db: Db, settings: Config, response: Response, adapter_id: str, sent: EvaluationIn
) -> JobOut:
    """A job of its own: its one iteration carries the accuracy, as the adapter's own job's does."""
    with transaction(db) as session:
        adapter, job = get_adapter(session, caller.project_id, adapter_id)
        new = check_evaluation(session, caller.project_id, adapter, job, sent)
        made = create_job(session, caller.project_id, caller.key_id, new, settings)
        response.headers["Location"] = f"/v1/jobs/{made.id}"
        return show_job(session, made)


def _read(db: Engine, project_id: str, trial_id: str) -> TrialOut:
    with reading(db) as session:
        return _out(*get_trial(session, project_id, trial_id))


def _out(job: Job, answers: Sequence[TrialAnswer]) -> TrialOut:
    return TrialOut(
        id=job.id,
        created_at=job.created_at,
        adapter=job.adapter_id or "",
        status=job.status,
        is_terminal=job.status in TERMINAL,
        status_reason=job.status_reason,
        answers=[
            TrialAnswerOut(
                asked="base" if row.asked == "base" else "adapter",
                position=row.position,
                question=row.example["question"],
                text=row.text,
                extracted=row.extracted,
                verdict=row.verdict,
                tokens=row.tokens,
                finish_reason=row.finish_reason,
            )
            for row in answers
        ],
    )
