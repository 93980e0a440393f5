"""Asks a trained adapter a few questions (a trial) or a whole dataset (an evaluation)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.http.schemas import Resource
from app.jobs.create import fingerprint_of, made_once
from app.jobs.read import wait_for_end
from app.jobs.views import JobOut, show_job
from app.ledger.jobs import trials as ledger
from app.ledger.jobs.jobs import create_job, remember_key
from app.ledger.jobs.trials import Asked
from app.ledger.platform.keys import Caller
from app.ledger.results.adapters import get_adapter
from app.ledger.transitions import TERMINAL
from app.results.trial_checks import EvaluationIn, TrialIn, check_evaluation, check_trial
from app.settings import Settings
from app.tables.jobs import Job
from app.tables.rationales import TrialAnswer
from app.tables.statuses import JobStatus


class ThoughtBefore(BaseModel):
    token: str
    thought: str


class TrialAnswerOut(BaseModel):
    asked: Asked
    position: int
    question: str
    text: str | None
    extracted: str | None
    verdict: str | None
    tokens: int | None
    finish_reason: str | None
    thoughts: Annotated[
        list[ThoughtBefore] | None,
        Field(
            description="Of an adapter that thinks between tokens: each token of the text, and what was "
            "thought before it."
        ),
    ] = None


class TrialOut(Resource):
    object: Literal["trial"] = "trial"
    adapter: str
    status: JobStatus
    is_terminal: bool
    status_reason: dict[str, Any] | None
    answers: list[TrialAnswerOut]


def create_trial(
    db: Engine, caller: Caller, adapter_id: str, sent: TrialIn, settings: Settings, key: str | None = None
) -> tuple[TrialOut, bool]:
    """The trial, and whether an earlier request with this Idempotency-Key had made it."""
    project_id = caller.project_id
    asked: list[Asked] = ["base", "adapter"] if sent.beside_base else ["adapter"]
    fingerprint = fingerprint_of(f"generate {adapter_id}", sent.model_dump_json())

    def make() -> TrialOut:
        with transaction(db) as session:
            adapter, job = get_adapter(session, project_id, adapter_id)
            new, examples = check_trial(session, adapter, job, sent, settings)
            trial = ledger.create_trial(session, project_id, caller.key_id, new, examples, asked, settings)
            remember_key(session, trial, key, fingerprint)
            return _out(*ledger.get_trial(session, project_id, trial.id))

    def show(session: Session, trial: Job) -> TrialOut:
        return _out(*ledger.get_trial(session, project_id, trial.id))

    return made_once(db, project_id, key, fingerprint, make, show)


async def wait_for_trial(db: Engine, project_id: str, trial_id: str, wait: float) -> TrialOut:
    """The trial once its last answer has come, or as it is after so many seconds."""
    await wait_for_end(db, project_id, trial_id, wait, ledger.get_trial_job)
    return await run_in_threadpool(_read, db, project_id, trial_id)


def create_evaluation(
    db: Engine,
    caller: Caller,
    adapter_id: str,
    sent: EvaluationIn,
    settings: Settings,
    key: str | None = None,
) -> tuple[JobOut, bool]:
    """An evaluation job, and whether an earlier request with this Idempotency-Key had made it.

    Its only iteration carries the accuracy, as in the adapter's own job.
    """
    project_id = caller.project_id
    fingerprint = fingerprint_of(f"evaluate {adapter_id}", sent.model_dump_json())

    def make() -> JobOut:
        with transaction(db) as session:
            adapter, job = get_adapter(session, project_id, adapter_id)
            new = check_evaluation(session, project_id, adapter, job, sent, settings)
            made = create_job(session, project_id, caller.key_id, new, settings)
            remember_key(session, made, key, fingerprint)
            return show_job(session, made)

    return made_once(db, project_id, key, fingerprint, make, show_job)


def _read(db: Engine, project_id: str, trial_id: str) -> TrialOut:
    with reading(db) as session:
        return _out(*ledger.get_trial(session, project_id, trial_id))


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
                thoughts=row.thoughts
                and [ThoughtBefore(token=token, thought=thought) for token, thought in row.thoughts],
            )
            for row in answers
        ],
    )
