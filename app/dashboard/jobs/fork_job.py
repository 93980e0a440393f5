"""Forking a job from a form, which shows first what the fork would be and still take."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from app.dashboard.jobs.form import FORKED, Filled, Sent, body, checked, filled, once, shown_setting
from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter
from app.errors import Problem
from app.http.dependencies import Config, Db, DryRunSlots, OfferedModels
from app.http.router import page_router
from app.jobs.create import create_fork, try_fork
from app.jobs.dry_run.describe import DryRunOut
from app.jobs.fork import ForkIn
from app.jobs.read import read_job
from app.ledger.platform.keys import Caller
from app.results.iterations import read_iterations

router = page_router("/jobs/{job_id}/fork")
FORK_FIELDS = ("name", "from_iteration", "priority")


@router.get("")
def fork_form(request: Request, caller: Submitter, db: Db, job_id: str) -> Response:
    return _fork_form(request, caller, db, job_id, Filled(dict(request.query_params)))


@router.post("/try")
async def try_out_fork(
    request: Request,
    caller: Submitter,
    db: Db,
    settings: Config,
    offered: OfferedModels,
    slots: DryRunSlots,
    job_id: str,
    sent: Sent,
) -> Response:
    """The form of the fork again, with the dry run below."""
    try:
        wanted: ForkIn = checked(ForkIn, body(sent, FORK_FIELDS))
        tried = await slots.run(
            caller.project_id, try_fork, db, caller.project_id, offered, job_id, wanted, settings
        )
    except Problem as refused:
        return await run_in_threadpool(_fork_form, request, caller, db, job_id, filled(sent, refused))
    return await run_in_threadpool(_fork_form, request, caller, db, job_id, filled(sent), tried=tried)


@router.post("")
def fork(
    request: Request,
    caller: Submitter,
    db: Db,
    settings: Config,
    offered: OfferedModels,
    job_id: str,
    sent: Sent,
) -> Response:
    key = str(sent.get("key", "")) or None
    try:
        wanted: ForkIn = checked(ForkIn, body(sent, FORK_FIELDS))
        made = once(lambda: create_fork(db, caller, offered, job_id, wanted, settings, key))
    except Problem as refused:
        return _fork_form(request, caller, db, job_id, filled(sent, refused), refused=refused)
    return RedirectResponse(url("jobs", made.id), status_code=303)


def _fork_form(
    request: Request,
    caller: Caller,
    db: Db,
    job_id: str,
    shown: Filled,
    refused: Problem | None = None,
    tried: DryRunOut | None = None,
) -> Response:
    job = read_job(db, caller.project_id, job_id)
    turns = read_iterations(db, caller.project_id, job_id).data
    done = [turn.number for turn in reversed(turns) if turn.finished_at is not None]
    return page(
        request,
        "job_fork.html",
        caller,
        status=refused.status if refused else 200,
        form=shown,
        tried=tried,
        job=job,
        done=[(str(n), f"iteration {n}" if n else "the baselines alone") for n in done],
        groups=FORKED,
        usual=lambda name: shown_setting(job.config, name),
    )
