"""Metrics read from the ledger alone: every API process reports the same, and restarts lose nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import clock
from app.ledger.platform.counters import counters
from app.tables.executions import Execution
from app.tables.jobs import Event, Job, Outbox, Step
from app.tables.statuses import StepStatus
from app.tables.usage import Usage

OPEN = (StepStatus.QUEUED, StepStatus.HELD, StepStatus.RUNNING)


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
        .where(Step.status.in_(OPEN))
        .group_by(Step.phase, Step.status),
    )
    yield from _ages(session)
    done = select(Step.phase, func.count()).where(Step.status == StepStatus.SUCCEEDED)
    yield _by(
        session, "star_steps_done_total", "counter", "Steps done.", ("phase",), done.group_by(Step.phase)
    )
    yield _by(
        session,
        "star_gpu_seconds_total",
        "counter",
        "GPU seconds of all claims that have ended, whatever came of them.",
        ("phase",),
        select(Usage.phase, func.sum(Usage.gpu_seconds)).group_by(Usage.phase),
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
            inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
            name = f"{metric.name}{{{inside}}}" if inside else metric.name
            lines.append(f"{name} {value:.15g}")
    return "\n".join(lines) + "\n"
