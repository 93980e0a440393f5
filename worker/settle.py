"""How a claim ends where its step does not: released, failed, or refused by the fence."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from contextlib import suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import transaction
from app.failpoints import failpoint
from app.ledger.platform.counters import count
from app.ledger.queue.quarantine import GPU_FAILURES
from app.ledger.queue.steps import Claim, Fenced, fail_step, release_step
from app.ledger.transitions import JobGone
from app.outages import is_outage
from star_engine.protocols import OutOfMemory
from worker.context import WorkerContext
from worker.failures import describe
from worker.lease import Lease, Released

log = structlog.get_logger()

MAX_HALVINGS = 2  # of the sampler's batch; where a quarter does not fit, advice is worth more than an eighth
REST_SECONDS = 5.0  # for a warm model to leave a cancelled call: a completion or a training step
OUTAGE_PAUSE_SECONDS = 1.0  # between two tries at a database that does not answer


def stop(worker: WorkerContext, claim: Claim, lease: Lease, problem: Exception) -> str:
    """Release the step where nothing has failed, else record the failure."""
    if isinstance(problem, Fenced | JobGone | Released) or lease.lost or is_outage(problem):
        lost = isinstance(problem, Fenced) or lease.lost  # then it is killed already, or soon will be
        if lost or worker.draining() or not worker.gpu_rests(REST_SECONDS):
            worker.drop_gpu()
        return _record(worker, claim, lease, "handed_back", lambda session: release_step(session, claim))
    failure = describe(problem)
    halved = {"halvings": worker.halvings + 1} if isinstance(problem, OutOfMemory) else None
    retryable = failure.retryable and (halved is None or worker.halvings < MAX_HALVINGS)
    trace = traceback.format_exc(limit=-8)
    log.error("step_failed", step=claim.step_id, code=failure.error["code"], trace=trace)
    if failure.gpu_is_lost:
        worker.drop_gpu()
    outcome = _record(
        worker,
        claim,
        lease,
        "failed",
        lambda session: fail_step(
            session,
            claim,
            failure.error,
            retryable=retryable,
            settings=worker.settings,
            passes=failure.passes,
            work=halved,
            trace=trace,
        ),
    )
    if failure.error["code"] in GPU_FAILURES:
        worker.fitness.failed(claim.job_id, claim.step_id)
    return outcome


def _record(
    worker: WorkerContext, claim: Claim, lease: Lease, outcome: str, change: Callable[[Session], None]
) -> str:
    """Apply a change of the step, through an outage if need be, for as long as the lease lasts.

    Where even that fails, the lease runs out and the reaper does the rest.
    """
    while True:
        try:
            with transaction(worker.engine) as session:
                change(session)
                failpoint("stop.before_commit")
        except (Fenced, JobGone):
            _count_refusal(worker)
            return "fenced"
        except SQLAlchemyError as error:
            log.warning("step_not_recorded", step=claim.step_id, error=type(error).__name__)
            if lease.lost or not is_outage(error):
                return "unrecorded"
            time.sleep(OUTAGE_PAUSE_SECONDS)
        else:
            return outcome


def _count_refusal(worker: WorkerContext) -> None:
    with suppress(SQLAlchemyError), transaction(worker.engine) as session:
        count(session, "fence_rejections")
