"""Quotas: counted and enforced under the project's row lock, in the transaction that would exceed them.

The project's row is locked last: after a job, before nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import clock
from app.errors import QuotaExceeded
from app.ledger.platform.usage import held_seconds
from app.tables.data import Dataset
from app.tables.files import File
from app.tables.jobs import Job, Step
from app.tables.platform import Project
from app.tables.quotas import Quota
from app.tables.rationales import Adapter
from app.tables.statuses import JobStatus
from app.tables.usage import Usage

RUNNING = (JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING)
QUEUED = (JobStatus.VALIDATING, JobStatus.QUEUED)
FIXES = {
    "running_jobs": "Wait until one ends, or pause or cancel one.",
    "queued_jobs": "Wait until one starts, or cancel one.",
    "gpu_hours": "Wait for the next month.",
    "dataset_bytes": "Datasets and files count as they were uploaded; delete files, or use what is there.",
    "adapter_bytes": "Delete adapters that nobody needs, or set a retention.",
}
NAMES = tuple(FIXES)


@dataclass(frozen=True, slots=True)
class Standing:
    """Usage of one quota; for GPU-hours, of this month, plus what running claims reserve."""

    name: str
    limit: float | None
    used: float
    held: float = 0.0


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Projects whose steps no worker may claim now."""

    projects: list[str]  # their GPU-hours are used up
    starting: list[str]  # no job of theirs may start, those that run go on


def standings(session: Session, project_id: str) -> list[Standing]:
    """Return every quota of a project with its usage."""
    quota = session.get(Quota, project_id) or Quota()
    used, held = _gpu_hours(session, project_id)
    return [
        Standing("running_jobs", quota.running_jobs, _jobs(session, project_id, RUNNING)),
        Standing("queued_jobs", quota.queued_jobs, _jobs(session, project_id, QUEUED)),
        Standing("gpu_hours", quota.gpu_hours, used, held),
        Standing("dataset_bytes", quota.dataset_bytes, _dataset_bytes(session, project_id)),
        Standing("adapter_bytes", quota.adapter_bytes, _adapter_bytes(session, project_id)),
    ]


def set_quota(session: Session, project_id: str, limits: Mapping[str, float | None]) -> None:
    """Replace a project's limits: every name of NAMES that is missing is without one."""
    quota = session.get(Quota, project_id) or Quota(project_id=project_id)
    for name in NAMES:
        setattr(quota, name, limits.get(name))
    session.add(quota)
    session.flush()


def check_new_job(session: Session, project_id: str) -> None:
    """Raises QuotaExceeded if the project may queue no further job, or has nothing left to run it with."""
    if (quota := _locked(session, project_id)) is None:
        return
    _check("queued_jobs", quota.queued_jobs, lambda: _jobs(session, project_id, QUEUED), 1)
    _check("gpu_hours", quota.gpu_hours, lambda: sum(_gpu_hours(session, project_id)))
    _check("adapter_bytes", quota.adapter_bytes, lambda: _adapter_bytes(session, project_id))


def check_resume(session: Session, project_id: str) -> None:
    """The same for a job that has run before and would run again at once."""
    if (quota := _locked(session, project_id)) is not None:
        _check("running_jobs", quota.running_jobs, lambda: _jobs(session, project_id, RUNNING), 1)


def check_dataset(session: Session, project_id: str, size_bytes: int) -> None:
    """Check the quota before an upload of so many bytes. Raises QuotaExceeded."""
    if (quota := _locked(session, project_id)) is not None:
        used = _dataset_bytes(session, project_id)
        _check("dataset_bytes", quota.dataset_bytes, lambda: used, size_bytes)


def check_adapter(session: Session, project_id: str, size_bytes: int) -> None:
    if (quota := _locked(session, project_id)) is not None:
        used = _adapter_bytes(session, project_id)
        _check("adapter_bytes", quota.adapter_bytes, lambda: used, size_bytes)


def may_start(session: Session, project_id: str) -> bool:
    """Whether one more job of the project may start; its row is locked where that depends on the others."""
    quota = _locked(session, project_id)
    if quota is None or quota.running_jobs is None:
        return True
    return _jobs(session, project_id, RUNNING) < quota.running_jobs


def held_back(session: Session) -> HeldBack:
    """Read by every claim: one small query where no project has a quota."""
    projects, starting = [], []
    for quota in session.scalars(select(Quota)):
        if quota.gpu_hours is not None and sum(_gpu_hours(session, quota.project_id)) >= quota.gpu_hours:
            projects.append(quota.project_id)
        running = quota.running_jobs
        if running is not None and _jobs(session, quota.project_id, RUNNING) >= running:
            starting.append(quota.project_id)
    return HeldBack(projects, starting)


def _locked(session: Session, project_id: str) -> Quota | None:
    """The quota, its project locked: two that would exceed it together wait for each other."""
    quota = session.get(Quota, project_id)
    if quota is not None:
        session.execute(select(Project.id).where(Project.id == project_id).with_for_update(key_share=True))
        session.refresh(quota)
    return quota


def _check(name: str, limit: float | None, used: Callable[[], float], more: float = 0) -> None:
    """Within the limit after `more`; where nothing is said to be added, something must be left."""
    if limit is None:
        return
    now = used()
    if now + more <= limit and (more or now < limit):
        return
    reason = f"{now:.10g} of {limit:.10g} are used" + (f", and this needs {more:.10g}." if more > 1 else ".")
    fix = f"{FIXES[name]} An operator of the platform can raise the quota."
    detail = f"The project's quota {name} is used up: {reason} {fix}"
    raise QuotaExceeded.for_field(f"quota.{name}", reason, fix, code=f"quota_{name}", detail=detail)


def _jobs(session: Session, project_id: str, statuses: tuple[JobStatus, ...]) -> int:
    query = select(func.count()).where(Job.project_id == project_id, Job.status.in_(statuses))
    return session.scalar(query) or 0


def _gpu_hours(session: Session, project_id: str) -> tuple[float, float]:
    """Used this month by claims that have ended, and held so far by those that run."""
    now = session.scalars(select(clock())).one()
    month = datetime(now.year, now.month, 1, tzinfo=UTC)
    spent = select(func.sum(Usage.gpu_seconds)).where(
        Usage.project_id == project_id, Usage.created_at >= month
    )
    jobs = select(Job.id).where(Job.project_id == project_id)
    held = held_seconds(session, Step.job_id.in_(jobs))
    return (session.scalar(spent) or 0.0) / 3600, held / 3600


def _dataset_bytes(session: Session, project_id: str) -> int:
    """Sum the bytes of uploaded datasets and files that are not deleted."""
    datasets = select(func.sum(Dataset.size_bytes)).where(Dataset.project_id == project_id)
    files = select(func.sum(File.size_bytes)).where(File.project_id == project_id, File.deleted_at.is_(None))
    return int(session.scalar(datasets) or 0) + int(session.scalar(files) or 0)


def _adapter_bytes(session: Session, project_id: str) -> int:
    """Sum the bytes of stored adapter files; a fork's adapter is its parent's and counts once."""
    query = select(Adapter.files).join(Job, Job.id == Adapter.job_id)
    found = session.scalars(query.where(Job.project_id == project_id, Adapter.deleted_at.is_(None)))
    sizes = {entry["sha256"]: entry["size_bytes"] for files in found for entry in files}
    return sum(sizes.values())
