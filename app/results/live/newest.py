"""The newest texts of a running job, and how fast its model writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, Select, func, select
from sqlalchemy.orm import Session

from app.database import clock, reading
from app.ledger.jobs.jobs import job_with_texts
from app.tables.data import Example
from app.tables.jobs import Iteration, Job, Step
from app.tables.rationales import Evaluation, Rationale
from star_engine.evaluation.accuracy import COMPARED
from star_engine.loop import MEASURING, PhaseName

SHOWN = 8
LOOKED_AT = 2000  # of the newest texts, for the speed
WINDOW = 60.0  # seconds over which the speed is taken


@dataclass(frozen=True, slots=True)
class NewText:
    """A text that the model has just written. `link` is the path below the job's page where it is shown."""

    id: str
    example: str
    question: str
    text: str
    verdict: str
    tokens: int
    link: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Newest:
    texts: tuple[NewText, ...]  # the newest first
    tokens_per_second: float | None  # written over the last minute of this phase; None: none were


def read_newest(db: Engine, project_id: str, job_id: str) -> Newest:
    """Of the phase that runs, where the model writes in it. Raises Gone where texts are removed."""
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        if job.phase is PhaseName.SAMPLE:
            return Newest(_tries(session, job), _speed(session, job, Rationale))
        if job.phase in MEASURING:
            return Newest(_answers(session, job), _speed(session, job, Evaluation))
        return Newest((), None)


def _tries(session: Session, job: Job) -> tuple[NewText, ...]:
    query = (
        select(Rationale, Example)
        .join(Example, Example.id == Rationale.example_id)
        .where(Rationale.job_id == job.id, Rationale.iteration_number == job.iteration)
        .order_by(Rationale.id.desc())
        .limit(SHOWN)
    )
    return tuple(
        _shown(f"rat_{one.id}", one, example, ("rationales", f"rat_{one.id}"))
        for one, example in session.execute(query)
    )


def _answers(session: Session, job: Job) -> tuple[NewText, ...]:
    query = (
        select(Evaluation, Example)
        .join(Example, Example.id == Evaluation.example_id)
        .where(Evaluation.iteration_id.in_(_now(job)), Evaluation.mode.in_([*COMPARED]))
        .order_by(Evaluation.id.desc())
        .limit(SHOWN)
    )
    return tuple(
        _shown(f"ans_{one.id}", one, example, ("answers",)) for one, example in session.execute(query)
    )


def _speed(session: Session, job: Job, texts: type[Rationale] | type[Evaluation]) -> float | None:
    """Tokens of the texts that were recorded within the window, over its seconds since the phase began.

    What was found on record is left out: it cost nothing. At most LOOKED_AT texts are read, so that a fast
    model's page costs what a slow one's does; then the window ends with the oldest of them.
    """
    began = session.scalar(
        select(func.min(Step.started_at)).where(
            Step.job_id == job.id, Step.iteration_number == job.iteration, Step.phase == job.phase
        )
    )
    now = session.scalar(select(clock()))
    if began is None or now is None:
        return None
    since = max(began, now - timedelta(seconds=WINDOW))
    query = (
        select(texts.tokens, texts.created_at)
        .where(texts.iteration_id.in_(_now(job)), texts.created_at > since, texts.reused.is_(False))
        .order_by(texts.id.desc())
        .limit(LOOKED_AT)
    )
    rows = session.execute(query).all()
    if len(rows) == LOOKED_AT:
        since = rows[-1].created_at
    seconds = (now - since).total_seconds()
    return sum(row.tokens for row in rows) / seconds if rows and seconds > 0 else None


def _now(job: Job) -> Select[int]:
    return select(Iteration.id).where(Iteration.job_id == job.id, Iteration.number == job.iteration)


def _shown(name: str, one: Rationale | Evaluation, example: Example, link: tuple[str, ...]) -> NewText:
    return NewText(
        id=name,
        example=example.external_id,
        question=example.question,
        text=one.text,
        verdict=one.verdict,
        tokens=one.tokens,
        link=link,
        created_at=one.created_at,
    )
