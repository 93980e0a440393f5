"""Reads what is shown of jobs in addition to their rows: one query per fact for a whole page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from app.tables.jobs import Iteration, Job, Step
from app.tables.platform import ApiKey
from app.tables.rationales import Adapter
from app.tables.statuses import StepStatus
from app.tables.usage import Usage
from app.tables.webhooks import Webhook
from star_engine.adapters.roles import AdapterRole


@dataclass(frozen=True, slots=True)
class Measured:
    """An iteration with an accuracy on the held-out examples; 0: the better few-shot baseline."""

    iteration: int
    accuracy: float
    adapter_id: str | None  # the verified one


@dataclass(frozen=True, slots=True)
class JobFacts:
    progress: dict[str, Any]  # of the current phase: done, total, unit
    best: dict[str, Any] | None  # iteration, accuracy, adapter_id, few_shot, below_few_shot
    measured: Sequence[Measured]  # by iteration
    created_by: str  # the name of the key
    created_by_person: str | None  # whose personal key it is
    gpu_seconds: float  # of claims that have ended
    webhook: Webhook | None  # its own
    beside: list[Job]  # baselines and replicates, asked for with it, in the order of the request


def job_facts(session: Session, jobs: Sequence[Job]) -> dict[str, JobFacts]:
    """Return the facts of these jobs, by job id."""
    ids = [job.id for job in jobs]
    progress, measured = progress_of(session, ids), measured_of(session, ids)
    best = _best(measured)
    by = {job.created_by for job in jobs}
    keys = {key.id: key for key in session.scalars(select(ApiKey).where(ApiKey.id.in_(by)))}
    sums = select(Usage.job_id, func.sum(Usage.gpu_seconds)).where(Usage.job_id.in_(ids))
    spent = {name: seconds for name, seconds in session.execute(sums.group_by(Usage.job_id))}  # noqa: C416
    hooks = {hook.job_id: hook for hook in session.scalars(select(Webhook).where(Webhook.job_id.in_(ids)))}
    beside: dict[str | None, list[Job]] = defaultdict(list)
    for job in session.scalars(select(Job).where(Job.baseline_of.in_(ids)).order_by(Job.id)):
        beside[job.baseline_of].append(job)
    return {
        job.id: JobFacts(
            progress=progress.get(job.id, {}),
            best=best.get(job.id),
            measured=measured.get(job.id, ()),
            created_by=keys[job.created_by].name,
            created_by_person=keys[job.created_by].person,
            gpu_seconds=spent.get(job.id) or 0.0,
            webhook=hooks.get(job.id),
            beside=beside[job.id],
        )
        for job in jobs
    }


def progress_of(session: Session, job_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the progress of each job's current phase, summed over its steps; `unit` is what is counted.

    `loading_seconds`: for how long a worker has been loading the model; None: none does.
    """
    now = (Step.job_id == Job.id) & (Step.iteration_number == Job.iteration) & (Step.phase == Job.phase)
    query = select(Step.job_id, Step.status, Step.work, Step.progress).join(Job, now)
    found: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"done": 0, "total": 0, "unit": "steps", "loading_seconds": None}
    )
    for job_id, status, work, progress in session.execute(query.where(Job.id.in_(job_ids))):
        size = work["stop"] - work["start"] if "stop" in work else progress.get("total", 1)
        of_job = found[job_id]
        of_job["unit"] = "examples" if "stop" in work else progress.get("unit", of_job["unit"])
        of_job["total"] += size
        if status == StepStatus.RUNNING and "loading_seconds" in progress:
            of_job["loading_seconds"] = max(of_job["loading_seconds"] or 0, progress["loading_seconds"])
        of_job["done"] += size if status == StepStatus.SUCCEEDED else min(progress.get("done", 0), size)
    return dict(found)


def measured_of(session: Session, job_ids: Sequence[str]) -> dict[str, list[Measured]]:
    """The accuracies of each job that has any."""
    adapter = and_(
        Adapter.job_id == Iteration.job_id,
        Adapter.iteration_number == Iteration.number,
        Adapter.role == AdapterRole.GENERATOR,
        Adapter.verification.is_not(None),
    )
    rows = session.execute(
        select(Iteration.job_id, Iteration.number, Iteration.metrics["accuracy"].as_float(), Adapter.id)
        .outerjoin(Adapter, adapter)
        .where(Iteration.job_id.in_(job_ids))
        .order_by(Iteration.number)
    )
    found: dict[str, list[Measured]] = defaultdict(list)
    for job_id, number, accuracy, adapter_id in rows:
        if accuracy is not None:
            found[job_id].append(Measured(number, accuracy, adapter_id))
    return dict(found)


def best_of(session: Session, job_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The iteration of each job whose adapter answered most held-out examples; the earlier one on a tie."""
    return _best(measured_of(session, job_ids))


def _best(measured: Mapping[str, Sequence[Measured]]) -> dict[str, dict[str, Any]]:
    best: dict[str, dict[str, Any]] = {}
    for job_id, found in measured.items():
        with_adapter = [one for one in found if one.adapter_id is not None]
        if with_adapter:
            highest = max(with_adapter, key=lambda one: (one.accuracy, -one.iteration))
            few_shot = next((one.accuracy for one in found if one.iteration == 0), None)
            below = few_shot is not None and highest.accuracy < few_shot
            best[job_id] = asdict(highest) | {"few_shot": few_shot, "below_few_shot": below}
    return best


def best_iteration(session: Session, job: Job) -> dict[str, Any] | None:
    """The same of one job; None before its first adapter was evaluated."""
    return best_of(session, [job.id]).get(job.id)


def best_accuracies(session: Session, job_ids: Sequence[str]) -> dict[str, tuple[float, int | None]]:
    """The highest held-out accuracy of each job and its number of questions: of its adapters, where it has
    evaluated one, else of few-shot prompting.
    """
    query = select(Iteration.job_id, Iteration.number, Iteration.metrics).where(Iteration.job_id.in_(job_ids))
    found: dict[str, tuple[float, int | None]] = {}
    for job_id, number, metrics in session.execute(query.order_by(Iteration.number)):
        accuracy = metrics.get("accuracy")
        if accuracy is not None and (number == 1 or accuracy > found.get(job_id, (-1.0, None))[0]):
            found[job_id] = (accuracy, _questions(metrics))
    return found


def _questions(metrics: Mapping[str, Any]) -> int | None:
    baselines: Mapping[str, Any] = metrics.get("baselines", {})
    asked: Mapping[str, Any] = metrics.get("evaluated") or next(iter(baselines.values()), {})
    return asked.get("n")
