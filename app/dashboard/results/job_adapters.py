"""The adapters of one job: what each iteration can do, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request, Response

from app.dashboard.rendering import page
from app.dashboard.session import Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.jobs.read import read_job
from app.jobs.views import JobOut
from app.results.adapters import AdapterOut, read_job_adapters
from app.results.iterations import IterationOut, read_iterations
from star_engine.adapters.roles import AdapterRole

router = page_router("/jobs/{job_id}/adapters")


@dataclass(frozen=True, slots=True)
class Row:
    adapter: AdapterOut
    iteration: IterationOut
    names: list[str]  # its aliases that say more than its number


@router.get("")
def of_job(request: Request, caller: Viewer, db: Db, job_id: str) -> Response:
    job = read_job(db, caller.project_id, job_id)
    found = read_job_adapters(db, caller.project_id, job_id).data
    by_number = {one.number: one for one in read_iterations(db, caller.project_id, job_id).data}
    last = last_generator(found)
    rows = [Row(one, by_number[one.iteration], aliases(job, one, last)) for one in found]
    return page(request, "job_adapters.html", caller, job=job, rows=rows, base=by_number.get(0))


def last_generator(adapters: Sequence[AdapterOut]) -> str | None:
    """The id that `job_...:last` stands for; None before there is one."""
    found = (one.id for one in reversed(adapters) if one.role is AdapterRole.GENERATOR)
    return next(found, None)


def aliases(job: JobOut, adapter: AdapterOut, last: str | None) -> list[str]:
    """best and last, as `job_...:best` stands for an adapter's id; below few-shot, none is best."""
    best = None if job.best is None or job.best["below_few_shot"] else job.best["adapter_id"]
    return [name for name, this in (("best", best), ("last", last)) if this == adapter.id]
