"""Which queued step is next: fair between projects first, then by priority, then what a worker holds warm."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, Text, and_, case, cast, exists, false, func, not_, or_, select
from sqlalchemy.orm import aliased

from app.database import clock
from app.ledger.platform.quotas import HeldBack
from app.ledger.queue.capacity import SANDBOX_OK, fits, has_another
from app.tables.data import Model
from app.tables.jobs import Iteration, Job, Step
from app.tables.platform import Project, Worker
from app.tables.statuses import JobStatus, StepStatus
from star_engine.loop import MEASURING, PhaseName
from star_engine.tasks.registry import TASKS

PATIENCE_SECONDS = (
    60.0  # a project waits no longer than this for a worker that would rather keep its warm model
)
GOING_ON = [JobStatus.VALIDATING, JobStatus.QUEUED, JobStatus.RUNNING]
NONE_HELD = HeldBack([], [])


def next_step(
    worker_id: str,
    warm_model: str | None,
    patience_seconds: float,
    held: HeldBack = NONE_HELD,
    *,
    sticks: bool = False,
) -> Select[str, str]:
    """The id and the job's id of the step that this free worker should try to claim, or no row.

    None of a project that its quota holds back (app/ledger/platform/quotas.py).
    Only steps whose model needs no more than the worker has (app/ledger/queue/capacity.py), and whose job
    does not wait for another one's answers. A job whose answers are programs wants a worker with a sandbox.
    A step whose GPU failed here is left to others, where there are any, for `patience_seconds`.
    Projects that fewer workers work for come first. Where that is a tie: projects that nobody has served for
    `patience_seconds`, then the higher priority, then the warm model (loading another takes minutes), then
    the project served longest ago, then what measures (sampling may be queued at the same time), then age.
    `sticks`: the warm model was loaded just now, and goes before those who have waited. Loading takes longer
    than their patience: two models on one worker would take turns with every step.
    """
    running = (
        select(Job.project_id, func.count(Step.lease_owner.distinct()).label("workers"))
        .join(Step, Step.job_id == Job.id)
        .where(Step.status == StepStatus.RUNNING)
        .group_by(Job.project_id)
        .subquery()
    )
    starved = or_(Project.served_at.is_(None), Project.served_at < clock(-patience_seconds))
    order: list[Any] = [
        func.coalesce(running.c.workers, 0),
        case((starved, 0), else_=1),
        Step.priority.desc(),
        Project.served_at.asc().nulls_first(),
        case((Step.phase.in_(MEASURING), 0), else_=1),
        Step.id,
    ]
    if warm_model is not None:
        warm = case((Step.model_id == warm_model, 0), else_=1)
        order = [order[0], order[2], warm, order[1], *order[3:]] if sticks else [*order[:3], warm, *order[3:]]
    return (
        select(Step.id, Step.job_id)
        .join(Job, Job.id == Step.job_id)
        .join(Project, Project.id == Job.project_id)
        .join(Model, Model.id == Step.model_id)
        .join(Worker, fits())
        .outerjoin(running, running.c.project_id == Job.project_id)
        .where(Step.status == StepStatus.QUEUED, Worker.id == worker_id, _not_waiting())
        .where(is_due(), not_(_better_elsewhere(worker_id, patience_seconds)))
        .where(Step.phase.in_(list(PhaseName)))  # a newer version's other ones are for its own workers
        .where(or_(_needs_no_sandbox(), Worker.sandbox == SANDBOX_OK))
        .where(Project.id.not_in(held.projects))
        .where(or_(Job.status != JobStatus.QUEUED, Project.id.not_in(held.starting)))
        .order_by(*order)
        .limit(1)
    )


def _better_elsewhere(worker_id: str, patience_seconds: float) -> ColumnElement[bool]:
    """Whether a step's GPU has just failed on this worker, and another one could take it."""
    recent = Step.failed_at > clock(-patience_seconds)
    return and_(
        func.coalesce(Step.failed_on, "") == worker_id, func.coalesce(recent, false()), has_another(worker_id)
    )


def _needs_no_sandbox() -> ColumnElement[bool]:
    """Whether a job's texts are neither judged by code nor call CPython."""
    runtime = Job.stored_config["tools"]["python"]["runtime"].as_string()
    calls_none = or_(runtime.is_(None), runtime != "cpython")
    return and_(Job.stored_config["kind"].as_string().not_in(_running()), calls_none)


def _running() -> list[str]:
    """The kinds whose answers are judged by code, which only workers with a sandbox run."""
    return [kind for kind, task in TASKS.items() if task.needs_sandbox]


def is_due() -> ColumnElement[bool]:
    """Whether a step does not wait for the platform to recover."""
    return or_(Step.not_before.is_(None), Step.not_before <= clock())


def _not_waiting() -> ColumnElement[bool]:
    """Whether a job's steps may be claimed: a baseline waits until its job has sampled iteration 1.

    Until then both would ask the base model the same, and with several workers at the same moment. A job that
    is paused or has ended delays no other.
    """
    first = aliased(Job)
    sampled = exists().where(
        and_(
            Iteration.job_id == first.id,
            Iteration.number == 1,
            cast(Iteration.phases_done, Text).contains(f'"{PhaseName.SAMPLE}"'),
        )
    )
    asking = exists().where(first.id == Job.baseline_of, first.status.in_(GOING_ON), not_(sampled))
    return or_(Job.baseline_of.is_(None), not_(asking))
