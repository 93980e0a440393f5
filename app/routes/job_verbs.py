"""What can be made of a job that is there: forks, and a second look at what was kept."""

from __future__ import annotations

from hashlib import sha256

from fastapi import Response

from app.database import reading
from app.http.auth import Reader, Submitter
from app.http.dependencies import Config, Db, OfferedModels
from app.http.idempotency import only_one
from app.http.router import api_router
from app.http.schemas import After, LongLimit
from app.jobs.create import create_once, made_before
from app.jobs.fork import ForkIn, check_fork
from app.jobs.regrade import RegradeIn, RegradeOut, regrade_out, regraded_settings
from app.jobs.views import JobOut
from app.ledger.jobs.jobs import get_job
from app.ledger.results.iterations import config_of
from app.ledger.results.regrade import ChangedPage, iterations_to_regrade, regrade_iteration
from app.routes.jobs import IdempotencyKey
from app.routes.rationales import row_id_of

router = api_router("jobs", "/v1/jobs/{job_id}")


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
    with only_one(db, caller.project_id, idempotency_key):
        made = made_before(db, caller, settings, idempotency_key, fingerprint)
        if made is None:
            with reading(db) as session:
                source = get_job(session, caller.project_id, job_id)
                new = check_fork(session, offered, source, sent, settings)
            made, _ = create_once(db, caller, new, settings, idempotency_key, fingerprint)
        else:
            response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"/v1/jobs/{made.id}"
    return made


@router.post("/regrade", summary="Ask what another verifier or other filters would have kept")
def regrade(
    caller: Reader, db: Db, job_id: str, sent: RegradeIn, limit: LongLimit = 100, after: After = None
) -> RegradeOut:
    """Judges recorded rationales anew, without a GPU, and changes nothing: which verdicts flip, which
    decisions change, and what the training set would be."""
    number = None if sent.iteration == "all" else sent.iteration
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        iterations = iterations_to_regrade(session, job, number)
    changed = ChangedPage(limit, None if after is None else row_id_of(after))
    found = [
        regrade_iteration(db, job, item, *regraded_settings(config_of(job, item), sent), changed)
        for item in iterations
    ]
    return regrade_out(job.id, found, changed)
