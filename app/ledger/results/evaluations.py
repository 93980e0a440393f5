"""Answers to held-out examples: recorded once per iteration, mode and example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.queue.steps import Claim, check_fence
from app.ledger.results.rationales import claimed_iteration, insert_once, storable
from app.ledger.transitions import lock_job
from app.tables.jobs import Step
from app.tables.rationales import Evaluation
from app.tables.statuses import StepStatus
from star_engine.evaluation.accuracy import EvaluatedAnswer


def evaluated_ids(session: Session, claim: Claim, mode: str, ids: Mapping[int, str]) -> set[str]:
    """Examples that earlier attempts at this step have answered. `ids`: row id to example id."""
    iteration = claimed_iteration(session, claim)
    query = select(Evaluation.example_id).where(
        Evaluation.iteration_id == iteration.id, Evaluation.mode == str(mode)
    )
    return {ids[example_id] for example_id in session.scalars(query) if example_id in ids}


def is_last_step(session: Session, claim: Claim) -> bool:
    """Whether no other step of the claimed one's phase is open. Locks the job, so that no other can end
    meanwhile.
    """
    lock_job(session, claim.job_id)
    open_ = (StepStatus.QUEUED, StepStatus.HELD, StepStatus.RUNNING)
    others = select(Step.id).where(
        Step.job_id == claim.job_id,
        Step.iteration_number == claim.iteration,
        Step.phase == claim.phase,
        Step.id != claim.step_id,
        Step.status.in_(open_),
    )
    return session.scalar(others.limit(1)) is None


def record_evaluations(
    session: Session,
    claim: Claim,
    mode: str,
    answers: Sequence[EvaluatedAnswer],
    row_ids: Mapping[str, int],
) -> None:
    """Record answers. `row_ids`: example id to row id. Raises Fenced."""
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    rows = [
        {
            "iteration_id": iteration.id,
            "mode": str(mode),
            "example_id": row_ids[answer.example_id],
            "text": storable(answer.text),
            "extracted": storable(answer.extracted),
            "verdict": answer.verdict,
            "tokens": answer.tokens,
            "finish_reason": answer.finish_reason,
            "request_sha256": answer.request_sha256,
            "reused": answer.reused,
            "tools": None if answer.tools is None else answer.tools.as_json(),
        }
        for answer in answers
    ]
    if rows:
        session.execute(insert_once(session, Evaluation), rows)
