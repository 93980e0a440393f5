"""What stays of a job's adapters."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt

from app.database import transaction
from app.http.auth import Submitter
from app.http.dependencies import Db
from app.http.ranges import IfMatch
from app.http.router import api_router
from app.http.schemas import CHANGED, In
from app.jobs.views import JobOut, show_job
from app.ledger.jobs.jobs import get_job
from app.ledger.jobs.retention import set_retention
from app.platform.data_retention import MAX_DAYS

MOST = 1_000_000  # adapters: more than any job has

router = api_router("adapters", "/v1/jobs/{job_id}/retention")


class RetentionIn(In):
    """Applied once the job has ended. Pinned adapters are exempt."""

    keep_last: Annotated[
        StrictInt | None, Field(ge=0, le=MOST, description="How many of the newest to keep; null: all.")
    ] = None
    keep_best: Annotated[StrictBool, Field(description="The most accurate one too.")] = True
    days: Annotated[
        float | None, Field(gt=0, le=MAX_DAYS, description="After the job's end; then none is kept.")
    ] = None


@router.put("", responses=CHANGED, summary="Set which adapters of a job to keep")
def put(caller: Submitter, db: Db, expected: IfMatch, job_id: str, sent: RetentionIn) -> JobOut:
    """If-Match takes the job's ETag."""
    with transaction(db) as session:
        job = get_job(session, caller.project_id, job_id)
        expected.check(session, job, lambda: show_job(session, job))
        set_retention(session, job, sent.model_dump())
        return show_job(session, job)
