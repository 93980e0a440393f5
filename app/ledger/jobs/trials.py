"""Trials: ask an adapter, and its base model, a few questions as an ordinary step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.ledger.jobs.jobs import NewJob, create_job
from app.ledger.queue.steps import Claim, check_fence
from app.ledger.results.rationales import storable
from app.settings import Settings
from app.tables.jobs import Job
from app.tables.rationales import TrialAnswer
from app.tables.statuses import Purpose
from star_engine.evaluation.accuracy import EvaluatedAnswer
from star_engine.tasks.examples import Example

Asked = Literal["adapter", "base"]


def create_trial(
    session: Session,
    project_id: str,
    key_id: str,
    new: NewJob,
    examples: Sequence[Example],
    asked: Sequence[Asked],
    settings: Settings,
) -> Job:
    """Record a trial and its questions. An example without an answer ("") gets no verdict."""
    job = create_job(session, project_id, key_id, new, settings)
    session.add_all(
        TrialAnswer(job_id=job.id, asked=who, position=position, example=_as_json(example))
        for who in asked
        for position, example in enumerate(examples)
    )
    session.flush()
    return job


def get_trial_job(session: Session, project_id: str, job_id: str) -> Job:
    """The job of a trial of this project; else NotFound."""
    job = session.get(Job, job_id)
    if job is None or job.project_id != project_id or job.purpose != Purpose.TRIAL:
        raise NotFound(f"There is no trial {job_id}.")
    return job


def get_trial(session: Session, project_id: str, job_id: str) -> tuple[Job, Sequence[TrialAnswer]]:
    """A trial of this project with its answers so far, in the order of its questions; else NotFound."""
    job = get_trial_job(session, project_id, job_id)
    query = select(TrialAnswer).where(TrialAnswer.job_id == job_id)
    return job, session.scalars(query.order_by(TrialAnswer.asked, TrialAnswer.position)).all()


def open_questions(session: Session, claim: Claim, asked: Asked) -> dict[int, Example]:
    """Return the unanswered questions by position."""
    query = select(TrialAnswer.position, TrialAnswer.example).where(
        TrialAnswer.job_id == claim.job_id, TrialAnswer.asked == asked, TrialAnswer.text.is_(None)
    )
    rows = session.execute(query.order_by(TrialAnswer.position))
    return {position: _as_example(position, example) for position, example in rows}


def record_trial_answer(session: Session, claim: Claim, asked: Asked, answer: EvaluatedAnswer) -> None:
    """Record one answer; where the question has no gold answer it has no verdict either. Raises Fenced."""
    check_fence(session, claim)
    here = (
        TrialAnswer.job_id == claim.job_id,
        TrialAnswer.asked == asked,
        TrialAnswer.position == int(answer.example_id),
    )
    question = session.scalars(select(TrialAnswer.example).where(*here)).one()
    session.execute(
        update(TrialAnswer)
        .where(*here, TrialAnswer.text.is_(None))
        .values(
            text=storable(answer.text),
            extracted=storable(answer.extracted),
            verdict=answer.verdict if question["answer"] else None,
            tokens=answer.tokens,
            finish_reason=answer.finish_reason,
            thoughts=[[storable(token), storable(thought)] for token, thought in answer.thoughts] or None,
        )
    )


def _as_json(example: Example) -> dict[str, Any]:
    return {
        "question": example.question,
        "answer": example.answer,
        "choices": None if example.choices is None else list(example.choices),
        "group": example.group,
    }


def _as_example(position: int, stored: dict[str, Any]) -> Example:
    choices = stored["choices"]
    return Example(
        id=str(position),
        question=stored["question"],
        answer=stored["answer"],
        choices=None if choices is None else tuple(choices),
        group=stored["group"],
    )
