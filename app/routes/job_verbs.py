"""What can be made of a job that is there: forks."""

from __future__ import annotations

from hashlib import sha256

from fastapi import APIRouter, Response

from app.auth import Submitter
from app.context import Config, Db, OfferedModels
from app.database import reading
from app.fork_checks import ForkIn, check_fork
from app.ledger.jobs import get_job
from app.routes.jobs import IdempotencyKey, JobOut, create_once, made_before

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


@router.post("/fork", status_code=201, summary="Go on from an iteration with other settings, as a new job")
def fork(
    caller: Submitter,
    db: Db,
    settings: Config,
    offered: OfferedModels,
    job_id: str,
    sent: ForkIn,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """The new job takes over iterations 0 to n with all that was recorded of them, and runs from n + 1 on.

    What the settings leave as it was is not sampled again (see `reused` in the metrics of an iteration).
    """
    fingerprint = sha256(f"fork {job_id} {sent.model_dump_json()}".encode()).hexdigest()
    made = made_before(db, caller, idempotency_key, fingerprint)
    if made is None:
        with reading(db) as session:
            new = check_fork(session, offered, get_job(session, caller.project_id, job_id), sent)
        made = create_once(db, caller, new, settings, idempotency_key, fingerprint)
    else:
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"/v1/jobs/{made.id}"
    return made
