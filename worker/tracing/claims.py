"""Takes the next step for a worker, and tells its trace of that and of the work on it."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.ledger.queue.steps import Claim, claim_step
from app.tables.jobs import Step
from app.tracing.spans import Span, SpanKind, begin, is_on
from worker.context import WorkerContext
from worker.gpu.seen import own_capacity


def claim_next(worker: WorkerContext, fits: Callable[[Step], bool] = lambda _step: True) -> Claim | None:
    """See claim_step; None while the GPUs here are not to be trusted (worker/gpu/fitness.py).

    Looks that find nothing are in no trace: they belong to no job.
    """
    if not worker.fitness.may_claim():
        return None
    began = time.time_ns() if is_on() else 0
    settings = worker.settings
    claim = claim_step(
        worker.engine,
        worker.worker_id,
        settings.lease_seconds,
        worker.warm_model,
        capacity=own_capacity(settings),
        fits=fits,
        sticks=worker.sticks(),
    )
    if claim is not None and is_on():
        facts = {
            "star.job.id": claim.job_id,
            "star.step.id": claim.step_id,
            "star.worker.id": worker.worker_id,
        }
        begin("claim", facts, parent=claim.traceparent, began=began).end()
    return claim


def begin_step(claim: Claim) -> Span:
    """The span of one claim's work on its slice, below its job's; its caller ends it."""
    if not is_on():
        return begin("step")
    facts = {
        "star.job.id": claim.job_id,
        "star.project.id": claim.project_id,
        "star.step.id": claim.step_id,
        "star.phase": claim.phase.value,
        "star.iteration": claim.iteration,
        "star.step.attempt": claim.attempt,
        "star.step.fence": claim.fence,
        "star.slice.start": claim.work.get("start"),
        "star.slice.stop": claim.work.get("stop"),
        "gen_ai.request.model": claim.model_id,
    }
    name, link = f"step {claim.phase.value}", claim.planned_in
    return begin(name, facts, SpanKind.CONSUMER, parent=claim.traceparent, link=link)


def end_step(span: Span, outcome: str, error_type: str | None = None) -> None:
    """End it with what became of the claim; it has failed where its step has."""
    span.note({"star.step.outcome": outcome})
    if outcome == "failed":
        span.fail(error_type or "failed")
    span.end()
