"""Probes: the base model is asked a sample of the train questions, by a job of one phase, not listed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.ledger.data.examples import load_examples, selected_positions
from app.ledger.jobs.facts import progress_of
from app.ledger.jobs.jobs import NewJob
from app.ledger.results.rationales import as_rationale
from app.tables.data import Example
from app.tables.jobs import Job
from app.tables.rationales import Rationale
from app.tables.statuses import Purpose
from app.tables.usage import Usage
from star_engine.config.selection import Selection
from star_engine.config.star import StarConfig
from star_engine.sampling import rationales as engine
from star_engine.tasks import examples as tasks


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe has asked, and what came back."""

    examples: list[tasks.Example]
    tries: list[engine.Rationale]
    asked: int  # train questions that an iteration of the job would ask
    gpu_seconds: float  # that the probe has used


@dataclass(frozen=True, slots=True)
class Counted:
    """How many tries are there, and how many of them were found on record."""

    tries: int
    reused: int


def as_probe(new: NewJob, questions: int) -> NewJob:
    """The job's first iteration on so many of its questions, and nothing after it.

    Its questions are those whose hash is the lowest: a job that asks more of them asks these, too.
    """
    asked = new.config.examples_per_iteration
    train = int(new.dataset.splits.get("train", 0))
    stands_for = min(train, asked or train)
    settings = new.config.model_dump(mode="json")
    settings["examples_per_iteration"] = min(stands_for, questions)
    settings["selection"] = Selection().model_dump(mode="json")  # nothing is known yet to choose them by
    return replace(
        new,
        name=f"Probe: {new.name}"[:200],
        config=StarConfig.model_validate(settings),
        purpose=Purpose.PROBE,
        stands_for=stands_for,
        beside=(),
        webhook=None,
    )


def get_probe(session: Session, project_id: str, job_id: str) -> Job:
    job = session.get(Job, job_id)
    if job is None or job.project_id != project_id or job.purpose != Purpose.PROBE:
        raise NotFound(f"There is no probe {job_id}.")
    return job


def read_probed(session: Session, job: Job) -> Probed:
    positions = selected_positions(session, job.dataset_id, job.config, 1)
    query = (
        select(Rationale, Example.external_id)
        .join(Example, Example.id == Rationale.example_id)
        .where(Rationale.job_id == job.id)
        .order_by(Example.position, Rationale.route, Rationale.sample)
    )
    spent = session.scalar(select(func.sum(Usage.gpu_seconds)).where(Usage.job_id == job.id))
    return Probed(
        examples=[one for _, one in load_examples(session, job.dataset_id, "train", positions)],
        tries=[as_rationale(row, name) for row, name in session.execute(query)],
        asked=job.stands_for or len(positions),
        gpu_seconds=float(spent or 0.0),
    )


def count_tries(session: Session, job: Job) -> Counted:
    query = select(Rationale.reused, func.count()).where(Rationale.job_id == job.id)
    found = {reused: count for reused, count in session.execute(query.group_by(Rationale.reused))}  # noqa: C416
    return Counted(sum(found.values()), found.get(True, 0))


def tries_in_all(session: Session, job: Job) -> dict[str, int]:
    """The progress of the probe's steps: done and total."""
    found = progress_of(session, [job.id]).get(job.id, {})
    return {"done": int(found.get("done", 0)), "total": int(found.get("total", 0))}
