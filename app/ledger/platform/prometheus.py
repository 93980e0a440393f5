"""Metrics read from the ledger alone: every API process reports the same, and restarts lose nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from app.database import clock
from app.ledger.platform.counters import counters
from app.ledger.queue.capacity import SANDBOX_OK, list_workers
from app.ledger.queue.quarantine import sick_workers
from app.tables.base import JsonObject
from app.tables.data import Model
from app.tables.executions import Execution
from app.tables.jobs import Event, Job, Outbox, Step
from app.tables.statuses import OPEN_STEPS, StepStatus
from app.tables.usage import Usage
from star_engine.loop import PhaseName

ANY_CLASS = "any"
MAX_WORKERS = 100_000


@dataclass(frozen=True, slots=True)
class Metric:
    """One Prometheus metric; `samples` are (labels, value)."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    samples: tuple[tuple[dict[str, str], float], ...]


def read_metrics(session: Session) -> Iterator[Metric]:
    """Over all projects. The queries on finished steps and events read whole tables: scrape once a minute."""
    yield _by(
        session,
        "star_jobs",
        "gauge",
        "Jobs by status.",
        ("status",),
        select(Job.status, func.count()).group_by(Job.status),
    )
    yield _by(
        session,
        "star_open_steps",
        "gauge",
        "Steps that are not done, by phase and status; queued is the depth of the queue.",
        ("phase", "status"),
        select(Step.phase, Step.status, func.count())
        .where(Step.status.in_(OPEN_STEPS))
        .group_by(Step.phase, Step.status),
    )
    yield from _ages(session)
    yield from _demand(session)
    yield from _workers(session)
    done = select(Step.phase, func.count()).where(Step.status == StepStatus.SUCCEEDED)
    yield _by(
        session, "star_steps_done_total", "counter", "Steps done.", ("phase",), done.group_by(Step.phase)
    )
    yield _by(
        session,
        "star_gpu_seconds_total",
        "counter",
        "GPU seconds of all claims that have ended, by base model and the workers' class.",
        ("phase", "model", "gpu_class"),
        _gpu_seconds(),
    )
    yield from _executions(session)
    retries = select(func.count()).where(Event.type == "step.retried")
    yield _one(
        "star_step_retries_total",
        "counter",
        "Attempts that failed and were repeated.",
        session.scalar(retries),
    )
    for name, value in sorted(counters(session).items()):
        yield _one(f"star_{name}_total", "counter", "See app/ledger/platform/counters.py.", value)


def _gpu_seconds() -> Select[PhaseName, str, str, float]:
    """What was used before models and classes were noted has neither."""
    place = (Usage.phase, func.coalesce(Usage.model_id, ""), func.coalesce(Usage.gpu_class, ANY_CLASS))
    return select(*place, func.sum(Usage.gpu_seconds)).group_by(*place)


def _demand(session: Session) -> Iterator[Metric]:
    """What workers are wanted for. A step that waits out a failure of the platform wants none yet."""
    now = session.scalars(select(clock())).one()
    ready = or_(Step.not_before.is_(None), Step.not_before <= now)
    place = (Step.model_id, func.coalesce(Model.gpu_class, ANY_CLASS))
    queued = (
        select(*place, func.count(), func.min(Step.created_at))
        .join(Model, Model.id == Step.model_id)
        .where(Step.status == StepStatus.QUEUED, ready)
        .group_by(*place)
    )
    rows = session.execute(queued).all()
    labels = [{"model": model, "gpu_class": gpu_class} for model, gpu_class, _, _ in rows]
    counts = (float(count) for _, _, count, _ in rows)
    ages = (max(0.0, (now - first).total_seconds()) for _, _, _, first in rows)
    text = "Steps that a worker could claim, by base model and the GPU class that it requires."
    yield Metric("star_queued_steps", "gauge", text, tuple(zip(labels, counts, strict=True)))
    text = "Age of the oldest of them, in seconds."
    yield Metric("star_queued_steps_age_seconds", "gauge", text, tuple(zip(labels, ages, strict=True)))
    held = select(func.count()).where(Step.status == StepStatus.QUEUED, Step.not_before > now)
    yield _one(
        "star_steps_waiting_out",
        "gauge",
        "Steps that wait because the platform failed them: disk, storage, database or sandbox.",
        session.scalar(held),
    )


def _workers(session: Session) -> Iterator[Metric]:
    busy: Counter[tuple[str, str]] = Counter()
    measured: list[tuple[str, JsonObject]] = []
    without_sandbox = 0
    for worker, is_busy in list_workers(session, after=None, limit=MAX_WORKERS):
        busy[worker.gpu_class or ANY_CLASS, "busy" if is_busy else "idle"] += 1
        measured.append((worker.id, worker.measured or {}))
        without_sandbox += worker.sandbox not in (None, SANDBOX_OK)
    samples = tuple(
        ({"gpu_class": gpu_class, "state": state}, float(count))
        for (gpu_class, state), count in sorted(busy.items())
    )
    yield Metric("star_workers", "gauge", "Workers that are there, by GPU class and state.", samples)
    yield _one(
        "star_workers_without_sandbox",
        "gauge",
        "Workers whose sandbox has failed its probe, or is off: they run no programs.",
        without_sandbox,
    )
    yield from _measured(measured)
    yield _one(
        "star_sick_workers",
        "gauge",
        "Workers in quarantine: they claim nothing until an operator releases them.",
        sick_workers(session),
    )


def _measured(workers: list[tuple[str, JsonObject]]) -> Iterator[Metric]:
    """What workers told of their GPUs with their last note, a minute ago at most."""
    gpus = [
        ({"worker": worker, "gpu": str(number)}, gpu)
        for worker, measured in workers
        for number, gpu in enumerate(measured.get("gpus", ()))
    ]
    for name, key, scale, text in (
        ("star_gpu_utilization", "utilization", 1.0, "Share of time in which a GPU computes."),
        ("star_gpu_memory_bytes", "memory_gib", 2.0**30, "Memory of a GPU."),
        ("star_gpu_memory_used_bytes", "memory_used_gib", 2.0**30, "Memory in use, by whichever process."),
        ("star_gpu_temperature_celsius", "temperature_c", 1.0, "Temperature of a GPU."),
    ):
        yield Metric(name, "gauge", text, tuple((labels, gpu[key] * scale) for labels, gpu in gpus))
    rates = tuple(({"worker": one}, told["tokens_per_second"]) for one, told in workers if told)
    text = "Tokens a second that a worker sampled, of prompts and completions, in the last minute."
    yield Metric("star_worker_tokens_per_second", "gauge", text, rates)
    hits = tuple(
        ({"worker": one}, told["prefix_cache_hits"])
        for one, told in workers
        if told.get("prefix_cache_hits") is not None
    )
    text = "Share of prompt tokens that the prefix cache of a worker's vLLM had, in the last minute."
    yield Metric("star_worker_prefix_cache_hits", "gauge", text, hits)


def _executions(session: Session) -> Iterator[Metric]:
    by_project = select(Execution.project_id).group_by(Execution.project_id)
    for name, text, value in (
        ("star_executions_total", "Programs executed in a sandbox, by project.", func.count()),
        ("star_sandbox_seconds_total", "CPU seconds of them.", func.sum(Execution.cpu_ms) / 1000.0),
    ):
        yield _by(session, name, "counter", text, ("project",), by_project.add_columns(value))


def _ages(session: Session) -> Iterator[Metric]:
    oldest = select(func.min(Step.created_at)).where(Step.status == StepStatus.QUEUED)
    first, now = session.scalar(oldest), session.scalar(select(clock()))
    age = (now - first).total_seconds() if first is not None and now is not None else 0.0
    yield _one("star_queue_age_seconds", "gauge", "Age of the oldest queued step.", max(0.0, age))
    expired = select(func.count()).where(Step.status == StepStatus.RUNNING, Step.lease_until < clock())
    yield _one(
        "star_expired_leases",
        "gauge",
        "Running steps whose worker is silent: a scheduler is missing if it stays.",
        session.scalar(expired),
    )
    yield _one(
        "star_waiting_notifications",
        "gauge",
        "Rings that the broker has not taken.",
        session.scalar(select(func.count(Outbox.id))),
    )


def _by(
    session: Session,
    name: str,
    kind: Literal["gauge", "counter"],
    text: str,
    labels: tuple[str, ...],
    query: Any,
) -> Metric:
    samples = tuple(
        (dict(zip(labels, row[:-1], strict=True)), float(row[-1] or 0)) for row in session.execute(query)
    )
    return Metric(name, kind, text, samples)


def _one(name: str, kind: Literal["gauge", "counter"], text: str, value: float | None) -> Metric:
    return Metric(name, kind, text, (({}, float(value or 0)),))


def render(metrics: Iterator[Metric]) -> str:
    """The Prometheus text format, version 0.0.4."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in metric.samples:
            inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            name = f"{metric.name}{{{inside}}}" if inside else metric.name
            lines.append(f"{name} {value:.15g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """A label's value: the names of models and classes are the operator's."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
