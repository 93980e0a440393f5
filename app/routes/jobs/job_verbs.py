"""Actions on existing jobs: fork, regrade, name, archive and delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from app.http.auth import Reader, Submitter
from app.http.dependencies import Config, Db, DryRunSlots, JobSlots, OfferedModels
from app.http.idempotency import IdempotencyKey
from app.http.ranges import IfMatch, tagged
from app.http.router import api_router
from app.http.schemas import CHANGED, HAS_DEPENDENTS, After, LongLimit
from app.jobs.change import JobChanges, describe_job
from app.jobs.create import create_fork, try_fork
from app.jobs.delete import archive_job, delete_job
from app.jobs.dry_run.describe import DryRunOut
from app.jobs.fork import ForkIn
from app.jobs.views import JobOut
from app.results.regrade import RegradeIn, RegradeOut, regrade_job
from app.routes.jobs.jobs import made_answer

router = api_router("jobs", "/v1/jobs/{job_id}")


@router.post("/fork", status_code=201, summary="Fork a job: continue from an iteration with other settings")
async def fork(
    caller: Submitter,
    db: Db,
    settings: Config,
    offered: OfferedModels,
    slots: JobSlots,
    dry_runs: DryRunSlots,
    job_id: str,
    sent: ForkIn,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobOut | DryRunOut:
    """The new job copies iterations 0 to n with everything recorded, and runs from n + 1 on.

    Completions that the new settings do not affect are reused (see `reused` in an iteration's metrics). With
    `dry_run` nothing is made: the answer (200) is that of a job's dry run, for the iterations from n + 1 on.
    """
    if sent.dry_run:
        response.status_code = 200
        return await dry_runs.run(
            caller.project_id, try_fork, db, caller.project_id, offered, job_id, sent, settings
        )
    made = await slots.run(
        caller.project_id, create_fork, db, caller, offered, job_id, sent, settings, idempotency_key
    )
    return made_answer(made, response)


@router.patch("", responses=CHANGED, summary="Rename a job, and change its metadata")
def update(
    caller: Submitter, db: Db, expected: IfMatch, response: Response, job_id: str, sent: JobChanges
) -> JobOut:
    """Whatever its status. Metadata are tags and notes of yours: lists can be filtered by them."""
    return tagged(response, describe_job(db, caller.project_id, job_id, sent, expected))


@router.delete("", status_code=204, responses=HAS_DEPENDENTS | CHANGED, summary="Delete a job for good")
def delete(
    caller: Submitter,
    db: Db,
    expected: IfMatch,
    job_id: str,
    baselines: Annotated[bool, Query(description="Its baselines too.")] = False,
) -> None:
    """With its rationales, adapters, answers, events and trials. What it used stays in the usage.

    Not before it has ended, nor while a fork, a baseline, an evaluation of its adapters or a dataset that was
    derived from it is there: the answer (409) names them in `dependents`.
    """
    delete_job(db, caller.project_id, job_id, baselines=baselines, expected=expected)


@router.post("/archive", summary="Leave a job that has ended out of lists")
def archive(caller: Submitter, db: Db, job_id: str) -> JobOut:
    """It can be read as before."""
    return archive_job(db, caller.project_id, job_id, archived=True)[0]


@router.post("/unarchive", summary="List an archived job again")
def unarchive(caller: Submitter, db: Db, job_id: str) -> JobOut:
    return archive_job(db, caller.project_id, job_id, archived=False)[0]


@router.post("/regrade", summary="Regrade: what would another verifier or other filters keep?")
def regrade(
    caller: Reader, db: Db, job_id: str, sent: RegradeIn, limit: LongLimit = 100, after: After = None
) -> RegradeOut:
    """Judge recorded rationales again, without a GPU and without changing anything: which verdicts and
    decisions would change, and what the training set would be.
    """
    return regrade_job(db, caller.project_id, job_id, sent, limit=limit, after=after)
