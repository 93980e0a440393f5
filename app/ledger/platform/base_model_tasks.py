"""Tasks about base models: asked for by operators, claimed by workers that may fetch, recorded to their end.

A claim lasts as long as it is renewed. `attempt` counts claims and fences them: what the worker of an earlier
one writes changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, exists, or_, select, update
from sqlalchemy.orm import Session

from app.database import clock, new_id, reading, transaction
from app.errors import NotFound
from app.ledger.platform.audit_log import maker
from app.tables.base import JsonObject
from app.tables.base_model_tasks import BaseModelTask
from app.tables.statuses import BaseModelTaskKind, BaseModelTaskStatus

MAX_ATTEMPTS = 3
QUEUE = "models"  # of the broker: workers that may fetch listen to it


@dataclass(frozen=True, slots=True)
class ClaimedTask:
    """A worker's right to do a task, until its lease ends."""

    id: str
    attempt: int
    kind: BaseModelTaskKind
    asked: JsonObject


def create_task(session: Session, kind: BaseModelTaskKind, asked: JsonObject) -> BaseModelTask:
    queued = BaseModelTaskStatus.QUEUED
    task = BaseModelTask(id=new_id("bmt"), kind=kind, status=queued, asked=asked, attempt=0, **maker(session))
    session.add(task)
    session.flush()
    session.refresh(task)
    return task


def get_task(session: Session, task_id: str) -> BaseModelTask:
    """Raises NotFound."""
    if (found := session.get(BaseModelTask, task_id)) is None:
        raise NotFound(f"There is no task {task_id} about a base model.")
    return found


def list_tasks(session: Session, *, after: str | None, limit: int) -> Sequence[BaseModelTask]:
    """Newest first."""
    query = select(BaseModelTask).order_by(BaseModelTask.id.desc()).limit(limit)
    return session.scalars(query if after is None else query.where(BaseModelTask.id < after)).all()


def claim_task(engine: Engine, worker_id: str, lease_seconds: float) -> ClaimedTask | None:
    """The oldest task that nobody does; one whose worker has ended too often fails."""
    while True:
        with transaction(engine) as session:
            oldest = select(BaseModelTask).where(_free()).order_by(BaseModelTask.id).limit(1)
            task = session.scalars(oldest.with_for_update(skip_locked=True)).one_or_none()
            if task is None:
                return None
            if task.attempt < MAX_ATTEMPTS:
                task.status, task.worker = BaseModelTaskStatus.RUNNING, worker_id
                task.attempt, task.lease_until = task.attempt + 1, clock(lease_seconds)
                task.started_at = clock()
                return ClaimedTask(task.id, task.attempt, task.kind, task.asked)
            task.status, task.ended_at = BaseModelTaskStatus.FAILED, clock()
            task.error = f"Its worker has ended {MAX_ATTEMPTS} times while it did this: see the worker's log."


def renew_task(engine: Engine, claimed: ClaimedTask, lease_seconds: float, progress: str) -> bool:
    """Show what is being done; False where the claim is lost."""
    values: dict[str, Any] = {"lease_until": clock(lease_seconds), "progress": progress}
    return _write(engine, claimed, values)


def end_task(
    engine: Engine, claimed: ClaimedTask, *, error: str | None = None, result: JsonObject | None = None
) -> bool:
    """Record how it ended; False where the claim is lost."""
    status = BaseModelTaskStatus.SUCCEEDED if error is None else BaseModelTaskStatus.FAILED
    values = {"status": status, "error": error, "result": result, "ended_at": clock(), "progress": None}
    return _write(engine, claimed, values)


def notify_of_tasks(engine: Engine, publish: Callable[[str, str], None], again_after: float) -> None:
    """Tell the workers that may fetch of each task that nobody does, and again after so many seconds."""
    untold = or_(BaseModelTask.notified_at.is_(None), BaseModelTask.notified_at < clock(-again_after))
    waiting = and_(_free(), untold)
    with reading(engine) as session:  # on SQLite a transaction that may write waits for every other one
        if not session.scalar(select(exists().where(waiting))):
            return
    with transaction(engine) as session:
        told = update(BaseModelTask).where(waiting).values(notified_at=clock())
        ids = list(session.scalars(told.returning(BaseModelTask.id)))
    for task_id in ids:
        publish(task_id, QUEUE)


def _free() -> ColumnElement[bool]:
    lost = and_(BaseModelTask.status == BaseModelTaskStatus.RUNNING, BaseModelTask.lease_until < clock())
    return or_(BaseModelTask.status == BaseModelTaskStatus.QUEUED, lost)


def _write(engine: Engine, claimed: ClaimedTask, values: dict[str, Any]) -> bool:
    mine = update(BaseModelTask).where(
        BaseModelTask.id == claimed.id,
        BaseModelTask.attempt == claimed.attempt,
        BaseModelTask.status == BaseModelTaskStatus.RUNNING,
    )
    with transaction(engine) as session:
        return session.connection().execute(mine.values(**values)).rowcount == 1
