"""Answers to held-out examples: recorded once per iteration, mode and example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.rationales import claimed_iteration, insert_once, storable
from app.ledger.steps import Claim, check_fence
from app.models.rationales import Evaluation
from star_engine.evaluation import EvaluatedAnswer, EvaluationMode


def evaluated_ids(session: Session, claim: Claim, mode: EvaluationMode, ids: Mapping[int, str]) -> set[str]:
    """Examples that earlier attempts at this step have answered. `ids`: row id to example id."""
    iteration = claimed_iteration(session, claim)
    query = select(Evaluation.example_id).where(
        Evaluation.iteration_id == iteration.id, Evaluation.mode == mode.value
    )
    return {ids[example_id] for example_id in session.scalars(query) if example_id in ids}


def record_evaluations(
    session: Session,
    claim: Claim,
    mode: EvaluationMode,
    answers: Sequence[EvaluatedAnswer],
    row_ids: Mapping[str, int],
) -> None:
    """Record answers. `row_ids`: example id to row id. Raises Fenced."""
    check_fence(session, claim)
    iteration = claimed_iteration(session, claim)
    rows = [
        {
            "iteration_id": iteration.id,
            "mode": mode.value,
            "example_id": row_ids[answer.example_id],
            "text": storable(answer.text),
            "extracted": storable(answer.extracted),
            "verdict": answer.verdict,
            "tokens": answer.tokens,
            "finish_reason": answer.finish_reason,
            "request_sha256": answer.request_sha256,
            "reused": answer.reused,
        }
        for answer in answers
    ]
    if rows:
        session.execute(insert_once(session, Evaluation), rows)
