"""What is shown of jobs beside their own rows, for a whole page at once: one query per fact, not per job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.ledger.transitions import StepStatus
from app.models.jobs import Iteration, Job, Step
from app.models.rationales import Adapter
from app.models.usage import Usage
from app.models.webhooks import Webhook


@dataclass(frozen=True, slots=True)
class JobFacts:
    progress: dict[str, Any]  # of the current phase: done, total, unit
    best: dict[str, Any] | None  # iteration, accuracy, adapter_id
    gpu_seconds: float  # of claims that have ended
    webhook: Webhook | None  # its own
    baselines: list[Job]  # asked for beside it, in the order of the request


def job_facts(session: Session, jobs: Sequence[Job]) -> dict[str, JobFacts]:
    """By the jobs' ids."""
    ids = [job.id for job in jobs]
    progress, best = progress_of(session, ids), best_of(session, ids)
    sums = select(Usage.job_id, func.sum(Usage.gpu_seconds)).where(Usage.job_id.in_(ids))
    spent = {name: seconds for name, seconds in session.execute(sums.group_by(Usage.job_id))}  # noqa: C416
    hooks = {hook.job_id: hook for hook in session.scalars(select(Webhook).where(Webhook.job_id.in_(ids)))}
    beside: dict[str | None, list[Job]] = defaultdict(list)
    for job in session.scalars(select(Job).where(Job.baseline_of.in_(ids)).order_by(Job.id)):
        beside[job.baseline_of].append(job)
    return {
        name: JobFacts(
            progress=progress.get(name, {}),
            best=best.get(name),
            gpu_seconds=spent.get(name) or 0.0,
            webhook=hooks.get(name),
            baselines=beside[name],
        )
        for name in ids
    }


def progress_of(session: Session, job_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How far the current phase of each job is, summed over its steps; `unit` is what is counted."""
    now = (Step.job_id == Job.id) & (Step.iteration_number == Job.iteration) & (Step.phase == Job.phase)
    query = select(Step.job_id, Step.status, Step.work, Step.progress).join(Job, now)
    found: dict[str, dict[str, Any]] = defaultdict(lambda: {"done": 0, "total": 0, "unit": "steps"})
    for job_id, status, work, progress in session.execute(query.where(Job.id.in_(job_ids))):
        size = work["stop"] - work["start"] if "stop" in work else progress.get("total", 1)
        of_job = found[job_id]
        of_job["unit"] = "examples" if "stop" in work else progress.get("unit", of_job["unit"])
        of_job["total"] += size
        of_job["done"] += size if status == StepStatus.SUCCEEDED else min(progress.get("done", 0), size)
    return dict(found)


def best_of(session: Session, job_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The iteration of each job whose adapter answered most held-out examples; the earlier one on a tie."""
    rows = session.execute(
        select(Iteration.job_id, Iteration.number, Iteration.metrics["accuracy"].as_float(), Adapter.id)
        .join(Adapter, (Adapter.job_id == Iteration.job_id) & (Adapter.iteration_number == Iteration.number))
        .where(Iteration.job_id.in_(job_ids), Adapter.verification.is_not(None))
        .order_by(Iteration.number)
    )
    best: dict[str, dict[str, Any]] = {}
    for job_id, number, accuracy, adapter_id in rows:
        if accuracy is not None and (job_id not in best or accuracy > best[job_id]["accuracy"]):
            best[job_id] = {"iteration": number, "accuracy": accuracy, "adapter_id": adapter_id}
    return best


def best_iteration(session: Session, job: Job) -> dict[str, Any] | None:
    """The same of one job; None before its first adapter was evaluated."""
    return best_of(session, [job.id]).get(job.id)
