"""How jobs are related, and how a job compares with its baselines, forks, origin and jobs that are named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.jobs.outcomes import read_iterations, read_outcomes
from app.tables.jobs import Iteration, Job
from star_engine.config.training_set import Source
from star_engine.evaluation.answer import best_iteration
from star_engine.evaluation.comparison import (
    SettingDifference,
    best_difference,
    best_outcomes,
    choices,
    curve,
    setting_differences,
)
from star_engine.evaluation.intervals import Interval, accuracy_interval
from star_engine.evaluation.report import Difference, Outcomes

REPLICATE = "replicate"  # Job.baseline of the same job with another seed
MAX_RELATIVES = 20  # a job can be forked any number of times


@dataclass(frozen=True, slots=True)
class Relative:
    """A job related to the reported one. `difference` is the reported job's best minus this one's best."""

    job: str
    name: str
    role: str  # what it is to the reported one: see _related
    status: str
    iteration: int | None  # the best one; 0: its few-shot baseline
    n: int
    correct: int
    accuracy: float | None
    interval: Interval | None
    train_data: Mapping[str, float] | None  # shares of that iteration's examples, by route
    difference: Difference | None
    settings: tuple[SettingDifference, ...]
    curve: tuple[tuple[int, float], ...]
    exploration: tuple[tuple[int, Mapping[str, Any]], ...] = ()  # audits.exploration by iteration


def baselines_of(session: Session, job_id: str) -> Sequence[Job]:
    """The jobs that were created alongside this one to compare it with, in the order of the request."""
    return session.scalars(select(Job).where(Job.baseline_of == job_id).order_by(Job.id)).all()


def forks_of(session: Session, job_id: str) -> Sequence[Job]:
    """The jobs that were forked from this one, oldest first."""
    return session.scalars(select(Job).where(Job.forked_from == job_id).order_by(Job.id)).all()


def direct_outcome(session: Session, job: Job, compared: Sequence[Job] = ()) -> Mapping[int, bool] | None:
    """What direct fine-tuning got right on the job's held-out examples: run with it, or named.

    None where it was not run; of several runs the one that was asked for beside the job counts.
    """
    if job.config.training_set.source is Source.ANSWERS:
        return None  # it is direct fine-tuning itself
    for other in (*baselines_of(session, job.id), *compared):
        alike = (other.dataset_id, other.model_id) == (job.dataset_id, job.model_id)
        if alike and other.config.training_set.source is Source.ANSWERS:
            found = best_iteration(read_outcomes(session, read_iterations(session, other)))
            if found is not None:
                return found.correct
    return None


def read_relatives(session: Session, job: Job, compared: Sequence[Job] = ()) -> tuple[Relative, ...]:
    """Return each related job once, baselines first; at most MAX_RELATIVES."""
    own = read_outcomes(session, read_iterations(session, job))
    seen: dict[str, tuple[Job, str]] = {}
    for other, role in _related(session, job, compared):
        if other.id != job.id:
            seen.setdefault(other.id, (other, role))
    chosen = list(seen.values())[:MAX_RELATIVES]
    return tuple(_relative(session, job, own, other, role) for other, role in chosen)


def _related(session: Session, job: Job, compared: Sequence[Job]) -> Iterator[tuple[Job, str]]:
    for other in compared:
        yield other, "compared"
    for baseline in baselines_of(session, job.id):
        yield baseline, _role_beside(baseline)
    beside = "replicate of" if job.baseline == REPLICATE else "baseline of"
    for origin_id, role in ((job.baseline_of, beside), (job.forked_from, "forked from")):
        origin = None if origin_id is None else session.get(Job, origin_id)
        if origin is not None:
            yield origin, role
    for fork in forks_of(session, job.id):
        yield fork, f"fork from {fork.forked_from_iteration}"


def _role_beside(job: Job) -> str:
    return f"replicate, seed {job.config.seed}" if job.baseline == REPLICATE else f"baseline {job.baseline}"


def _relative(session: Session, job: Job, own: Sequence[Outcomes], other: Job, role: str) -> Relative:
    iterations = read_iterations(session, other)
    outcomes = read_outcomes(session, iterations)
    pairs = choices(job.config, own) * choices(other.config, outcomes)
    best = best_outcomes(outcomes)
    n = len(best.correct) if best else 0
    correct = sum(best.correct.values()) if best else 0
    return Relative(
        job=other.id,
        name=other.name,
        role=role,
        status=other.status,
        iteration=best.iteration if best else None,
        n=n,
        correct=correct,
        accuracy=correct / n if n else None,
        interval=accuracy_interval(correct, n) if n else None,
        train_data=_coverage(iterations, best.iteration) if best else None,
        difference=best_difference(own, outcomes, pairs),
        settings=setting_differences(job.config, other.config),
        curve=curve(outcomes),
        exploration=_exploration(iterations),
    )


def _exploration(iterations: Sequence[Iteration]) -> tuple[tuple[int, Mapping[str, Any]], ...]:
    found = ((one.number, one.metrics.get("audits", {}).get("exploration")) for one in iterations)
    return tuple((number, one) for number, one in found if one)


def _coverage(iterations: Sequence[Iteration], number: int) -> Mapping[str, float] | None:
    return next((item.metrics.get("coverage") for item in iterations if item.number == number), None)
