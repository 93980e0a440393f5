"""Asks a trained adapter a few questions, or a whole dataset."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from app.http.auth import Reader, Submitter
from app.http.dependencies import Config, Db
from app.http.idempotency import IdempotencyKey
from app.http.router import api_router
from app.jobs.views import JobOut
from app.results.trial_checks import EvaluationIn, TrialIn
from app.results.trials import TrialOut, create_evaluation, create_trial, wait_for_trial

router = api_router("adapters", "/v1")


@router.post("/adapters/{adapter_id}/generate", status_code=202, summary="Ask an adapter a few questions")
def generate(
    caller: Submitter,
    db: Db,
    settings: Config,
    response: Response,
    adapter_id: str,
    sent: TrialIn,
    idempotency_key: IdempotencyKey = None,
) -> TrialOut:
    """A worker that has the base model loaded answers first. Wait for it with GET /v1/trials/{id}?wait=30."""
    made, replayed = create_trial(db, caller, adapter_id, sent, settings, idempotency_key)
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"/v1/trials/{made.id}"
    return made


@router.get("/trials/{trial_id}", summary="Get the answers to a few questions")
async def trial(
    caller: Reader,
    db: Db,
    trial_id: str,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for the last answer.")] = 0,
) -> TrialOut:
    # Async, so that waiting clients do not occupy the threads that serve the others.
    return await wait_for_trial(db, caller.project_id, trial_id, wait)


@router.post("/adapters/{adapter_id}/evaluate", status_code=202, summary="Evaluate an adapter on a dataset")
def evaluate(
    caller: Submitter,
    db: Db,
    settings: Config,
    response: Response,
    adapter_id: str,
    sent: EvaluationIn,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """Create an evaluation job; its only iteration carries the accuracy, as in the adapter's own job."""
    made, replayed = create_evaluation(db, caller, adapter_id, sent, settings, idempotency_key)
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"/v1/jobs/{made.id}"
    return made
