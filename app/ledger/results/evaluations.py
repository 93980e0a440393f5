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
from app.tables.statuses import OPEN_STEPS
from star_engine.evaluation.accuracy import EvaluatedAnswer
from star_engine.loop import PhaseName


def evaluated_ids(session: Session, claim: Claim, mode: str, ids: Mapping[int, str]) -> set[str]:
    """Examples that earlier attempts at this step have answered. `ids`: row id to example id."""
    return set(evaluated_verdicts(session, claim, mode, ids))


def evaluated_verdicts(session: Session, claim: Claim, mode: str, ids: Mapping[int, str]) -> dict[str, str]:
    """The verdicts of these answers, by example id."""
    iteration = claimed_iteration(session, claim)
    query = select(Evaluation.example_id, Evaluation.verdict).where(
        Evaluation.iteration_id == iteration.id, Evaluation.mode == str(mode)
    )
    return {ids[row_id]: verdict for row_id, verdict in session.execute(query) if row_id in ids}


def measures_last(session: Session, claim: Claim) -> frozenset[PhaseName]:
    """Of the phases that measure the claimed iteration's adapter, `evaluate` and `test_time`, those that are
    complete once the claimed step is. Empty unless `evaluate` and the step's own phase are among them:
    another step then comes later and measures last. Steps of both phases run side by side. Locks the job, so
    that no other step can end meanwhile.
    """
    lock_job(session, claim.job_id)
    others = session.execute(
        select(Step.phase, Step.status).where(
            Step.job_id == claim.job_id,
            Step.iteration_number == claim.iteration,
            Step.phase.in_((PhaseName.EVALUATE, PhaseName.TEST_TIME)),
            Step.id != claim.step_id,
        )
    ).all()
    known = {claim.phase, *(PhaseName(phase) for phase, _ in others)}
    complete = known - {PhaseName(phase) for phase, status in others if status in OPEN_STEPS}
    return frozenset(complete) if {PhaseName.EVALUATE, claim.phase} <= complete else frozenset()


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
