"""What a project's jobs have answered before, by the key of the request (see star_engine.sampling)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.tables.base import JsonObject
from app.tables.candidates import Candidate
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Evaluation, Rationale
from star_engine.loop import PhaseName
from star_engine.sampling.completion_cache import Recorded
from star_engine.sampling.rationales import Route

MAX_IN = 10_000  # values in one IN (...): SQLite takes 32,766 parameters


def recorded_tries(session: Session, project_id: str, keys: Sequence[str]) -> dict[str, Recorded]:
    """The answers to these requests among all rationales of the project."""
    query: Any = select(
        Rationale.request_sha256,
        Rationale.text,
        Rationale.prompt_tokens,
        Rationale.tokens,
        Rationale.finish_reason,
    ).join(Job, Job.id == Rationale.job_id)
    query = query.where(Job.project_id == project_id)
    return {
        row[0]: Recorded(*row[1:])
        for some in _parts(keys)
        for row in session.execute(query.where(Rationale.request_sha256.in_(some)))
    }


def recorded_evaluations(session: Session, project_id: str, keys: Sequence[str]) -> dict[str, Recorded]:
    """The same among all answers to held-out examples; how long their prompts were is not recorded: 0."""
    query: Any = (
        select(Evaluation.request_sha256, Evaluation.text, Evaluation.tokens, Evaluation.finish_reason)
        .join(Iteration, Iteration.id == Evaluation.iteration_id)
        .join(Job, Job.id == Iteration.job_id)
        .where(Job.project_id == project_id)
    )
    return {
        key: Recorded(text, 0, tokens, finish_reason)
        for some in _parts(keys)
        for key, text, tokens, finish_reason in session.execute(
            query.where(Evaluation.request_sha256.in_(some))
        )
    }


def recorded_answers(session: Session, project_id: str, keys: Sequence[str]) -> dict[str, Recorded]:
    """The same among all candidates: many answers to each held-out question."""
    query: Any = (
        select(
            Candidate.request_sha256,
            Candidate.text,
            Candidate.prompt_tokens,
            Candidate.tokens,
            Candidate.finish_reason,
        )
        .join(Iteration, Iteration.id == Candidate.iteration_id)
        .join(Job, Job.id == Iteration.job_id)
        .where(Job.project_id == project_id)
    )
    return {
        row[0]: Recorded(*row[1:])
        for some in _parts(keys)
        for row in session.execute(query.where(Candidate.request_sha256.in_(some)))
    }


def reused_in(session: Session, iteration: Iteration, phase: PhaseName) -> JsonObject:
    """Count the answers of a closed phase that cost no GPU time, by phase, together with earlier phases."""
    if phase in (PhaseName.CONTROL, PhaseName.SAMPLE, PhaseName.PROBE):
        of_control = Rationale.route == Route.PROBE
        own = of_control if phase is PhaseName.CONTROL else ~of_control
        query = select(func.count()).where(Rationale.iteration_id == iteration.id, Rationale.reused, own)
    elif phase in (PhaseName.BASELINES, PhaseName.EVALUATE):
        query = select(func.count()).where(Evaluation.iteration_id == iteration.id, Evaluation.reused)
    elif phase is PhaseName.TEST_TIME:
        query = select(func.count()).where(Candidate.iteration_id == iteration.id, Candidate.reused)
    else:
        return {}
    before = iteration.metrics.get("reused", {})
    return {"reused": {**before, phase: session.scalar(query) or 0}}


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[first : first + MAX_IN] for first in range(0, len(keys), MAX_IN))
