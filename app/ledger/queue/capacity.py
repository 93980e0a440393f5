"""What a base model needs against what a worker has: who may take a step, and who is notified of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.database import clock
from app.settings import Settings
from app.tables.base import JsonObject
from app.tables.data import Model
from app.tables.jobs import Step
from app.tables.platform import Worker
from app.tables.statuses import StepStatus

LIVE_SECONDS = 180.0  # a worker says every minute that it is there; one that missed three is not counted on
FORGOTTEN_SECONDS = 86_400.0  # every restart of a worker makes a new row
SANDBOX_OK = "ok"
DEFAULT_QUEUE = "celery"  # the queue that every worker listens to; Celery's own default name


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one worker declares of its hardware. An undeclared value meets no requirement."""

    gpus: int = 1
    gpu_memory_gib: float | None = None  # of each GPU
    gpu_class: str | None = None

    @property
    def queue(self) -> str:
        """The queue of all workers that state the same."""
        if self == Capacity():
            return DEFAULT_QUEUE
        memory = "" if self.gpu_memory_gib is None else f"{self.gpu_memory_gib:g}"
        return f"{DEFAULT_QUEUE}.{self.gpus}x{memory}.{self.gpu_class or ''}"


def capacity_of(settings: Settings) -> Capacity:
    return Capacity(settings.gpus, settings.gpu_memory_gib, settings.gpu_class)


def fits(worker: type[Worker] = Worker) -> ColumnElement[bool]:
    """Whether a row of workers is well and has what a row of models needs."""
    return and_(
        worker.sick.is_(None),
        Model.gpus <= worker.gpus,
        or_(Model.gpu_memory_gib.is_(None), Model.gpu_memory_gib <= worker.gpu_memory_gib),
        or_(Model.gpu_class.is_(None), Model.gpu_class == worker.gpu_class),
    )


def saw_worker(session: Session, worker_id: str, capacity: Capacity | None = None) -> None:
    """Record the worker's presence and capacity. None keeps what it declared before, else the minimum."""
    facts = {} if capacity is None else _columns(capacity)
    known = update(Worker).where(Worker.id == worker_id).values(seen_at=clock(), **facts)
    if session.execute(known.returning(Worker.id)).first() is None:
        session.execute(delete(Worker).where(Worker.seen_at < clock(-FORGOTTEN_SECONDS)))
        session.add(Worker(id=worker_id, seen_at=clock(), **_columns(capacity or Capacity())))
        session.flush()


def note_sandbox(session: Session, worker_id: str, problem: str | None) -> None:
    """Note what a worker's probe of its sandbox said. None: programs of jobs may run there."""
    session.execute(update(Worker).where(Worker.id == worker_id).values(sandbox=problem or SANDBOX_OK))


def note_measured(session: Session, worker_id: str, measured: JsonObject) -> None:
    """Note what a worker says of its GPUs (worker/gpu/measured.py)."""
    session.execute(update(Worker).where(Worker.id == worker_id).values(measured=measured))


def forget_worker(session: Session, worker_id: str) -> None:
    """Removes the presence row of a worker that ends by itself, so that nobody counts on it."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def fitting_workers(session: Session, model: Model) -> int:
    """How many live workers have what this model needs. 0: its jobs wait until one is started."""
    fitting = select(func.count()).select_from(Worker).join(Model, fits())
    return session.scalar(fitting.where(_live(), Model.id == model.id)) or 0


def fitting_by_model(session: Session) -> dict[str, int]:
    """How many live workers have what each model needs; a model that none has is left out."""
    query = select(Model.id, func.count()).join(Worker, fits()).where(_live()).group_by(Model.id)
    return {model: count for model, count in session.execute(query)}  # noqa: C416 - a result is no mapping


def fitting_gpus(session: Session, model: Model) -> list[tuple[int, str | None]]:
    """How many GPUs of which class the live workers have that may take this model's steps; where none lives,
    what the model needs."""
    shapes = select(Worker.gpus, Worker.gpu_class).join(Model, fits()).where(_live(), Model.id == model.id)
    found = [(gpus, gpu_class) for gpus, gpu_class in session.execute(shapes.distinct())]
    return found or [(model.gpus, model.gpu_class)]


def largest_gpu_gib(session: Session, model: Model) -> float | None:
    """The most memory that a GPU of a live worker has which may take this model's steps; None: none says."""
    largest = select(func.max(Worker.gpu_memory_gib)).join(Model, fits())
    return session.scalar(largest.where(_live(), Model.id == model.id))


def live_workers(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Worker).where(_live())) or 0


def list_workers(session: Session, *, after: str | None, limit: int) -> list[tuple[Worker, bool]]:
    """Live workers by id, and whether each holds a step."""
    held = exists().where(Step.lease_owner == Worker.id, Step.status == StepStatus.RUNNING)
    query = select(Worker, held).where(_live()).order_by(Worker.id).limit(limit)
    if after is not None:
        query = query.where(Worker.id > after)
    return [(worker, busy) for worker, busy in session.execute(query)]


def holds_step(session: Session, worker_id: str) -> bool:
    """Whether a worker works on a step."""
    held = exists().where(Step.lease_owner == worker_id, Step.status == StepStatus.RUNNING)
    return bool(session.scalar(select(held)))


def queues_by_step(session: Session, step_ids: Collection[str]) -> dict[str, set[str]]:
    """The queues that a notification for each step goes to: those of the live workers that fit its model.

    Where none is known to live (the first one is just starting), the queue that everybody listens to.
    """
    shapes = (
        select(Step.id, Worker.gpus, Worker.gpu_memory_gib, Worker.gpu_class)
        .join(Model, Model.id == Step.model_id)
        .join(Worker, fits())
        .where(Step.id.in_(step_ids), _live())
        .distinct()
    )
    found: dict[str, set[str]] = {}
    for step_id, gpus, memory, gpu_class in session.execute(shapes):
        found.setdefault(step_id, set()).add(Capacity(gpus, memory, gpu_class).queue)
    return {step_id: found.get(step_id, {DEFAULT_QUEUE}) for step_id in step_ids}


def has_another(worker_id: str) -> ColumnElement[bool]:
    """Whether a live worker besides this one has what a row of models needs."""
    other = aliased(Worker)
    return exists().where(other.id != worker_id, fits(other), _live(other))


def _live(worker: type[Worker] = Worker) -> ColumnElement[bool]:
    return worker.seen_at > clock(-LIVE_SECONDS)


def _columns(capacity: Capacity) -> dict[str, int | float | str | None]:
    return {
        "gpus": capacity.gpus,
        "gpu_memory_gib": capacity.gpu_memory_gib,
        "gpu_class": capacity.gpu_class,
    }
