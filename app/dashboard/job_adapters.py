"""The adapters of one job: what each iteration can do, and its files."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request, Response
from sqlalchemy import Engine

from app.dashboard.rendering import page
from app.dashboard.session import Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.jobs.views import JobOut
from app.ledger.platform.keys import Caller
from app.routes import adapters, iterations, jobs
from app.routes.adapters import AdapterOut
from app.routes.iterations import IterationOut

router = page_router("/jobs/{job_id}/adapters")
PAGE = 100  # iterations of one answer of the API


@dataclass(frozen=True, slots=True)
class Row:
    adapter: AdapterOut
    iteration: IterationOut
    names: list[str]  # its aliases that say more than its number


@router.get("")
def of_job(request: Request, caller: Viewer, db: Db, job_id: str) -> Response:
    job = jobs.shown(caller, db, job_id)
    found = adapters.list_(caller, db, job_id).data
    by_number = {one.number: one for one in all_iterations(caller, db, job_id)}
    rows = [Row(one, by_number[one.iteration], aliases(job, one, found[-1].id)) for one in found]
    return page(request, "job_adapters.html", caller, job=job, rows=rows, base=by_number.get(0))


def all_iterations(caller: Caller, db: Engine, job_id: str) -> list[IterationOut]:
    """A job has at most a few hundred."""
    found = iterations.list_(caller, db, job_id, limit=PAGE, after=-1)
    rows = list(found.data)
    while found.has_more:
        found = iterations.list_(caller, db, job_id, limit=PAGE, after=rows[-1].number)
        rows += found.data
    return rows


def aliases(job: JobOut, adapter: AdapterOut, last: str) -> list[str]:
    """best and last, as `job_...:best` stands for an adapter's id; below few-shot, none is best."""
    best = None if job.best is None or job.best["below_few_shot"] else job.best["adapter_id"]
    return [name for name, this in (("best", best), ("last", last)) if this == adapter.id]
