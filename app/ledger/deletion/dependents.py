"""What depends on an object that somebody wants to delete. It is named, and nothing is deleted before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, or_, select
from sqlalchemy.orm import Session

from app.errors import Conflict, Dependent
from app.ledger.transitions import TERMINAL
from app.tables.data import Dataset, PromptSet
from app.tables.files import File
from app.tables.jobs import Job
from app.tables.quality import Promotion
from app.tables.rationales import Adapter
from app.tables.statuses import Purpose

MAX_NAMED = 20  # of one kind; the count beside them is of all
FIX = "Delete what depends on it first."


def refuse_active(job: Job) -> None:
    """Raises Conflict for a job that has not ended: its workers would find their job gone."""
    if job.status not in TERMINAL:
        raise Conflict(
            f"The job {job.id} is {job.status}. Cancel it first, and send this again once it has ended.",
            code="job_active",
        )


def refuse_dependents(what: str, found: Sequence[Dependent], fix: str = FIX) -> None:
    """Raises Conflict, naming them, where there are any."""
    if not found:
        return
    named = "; ".join(f"{one.object} {one.id} ({one.reason})" for one in found)
    raise Conflict(f"{what} is needed: {named}. {fix}", code="has_dependents", dependents=tuple(found))


def dependents_of_job(session: Session, job: Job, *, but: Sequence[str] = ()) -> list[Dependent]:
    """Forks, baselines, evaluations and promotions of its adapters, trials that run, datasets derived from
    it.

    Not the jobs whose ids are in `but`: they are deleted with it.
    """
    adapters = select(Adapter.id).where(Adapter.job_id == job.id)
    running_trial = (Job.purpose == Purpose.TRIAL) & Job.status.not_in(TERMINAL)
    asks = Job.adapter_id.in_(adapters) & ((Job.purpose == Purpose.EVALUATION) | running_trial)
    scorer = Job.stored_config["evaluation"]["test_time"]["scorer"].as_string()
    reasons = {
        "was forked from it": Job.forked_from == job.id,
        "is one of its baselines": Job.baseline_of == job.id,
        "asks an adapter of it": asks,
        "lets a verifier of it rank": scorer.in_(adapters) & Job.status.not_in(TERMINAL),
    }
    found = [one for reason, which in reasons.items() for one in _jobs(session, job, which, reason, but)]
    derived = (Dataset.project_id == job.project_id, Dataset.derived_from["job"].as_string() == job.id)
    promoted = (Promotion.adapter_id.in_(adapters), Promotion.ended_at.is_(None))
    stands = _named(session, "promotion", Promotion, "has an adapter of it in use", *promoted)
    return [*found, *_datasets(session, "was derived from it", *derived), *stands]


def dependents_of_dataset(session: Session, dataset: Dataset) -> list[Dependent]:
    """Jobs that train on it, are measured on it or mix it in, and datasets derived from it."""
    own = Job.project_id == dataset.project_id
    named_in_config = cast(Job.stored_config, Text).contains(f'"{dataset.id}"')
    uses = or_(Job.dataset_id == dataset.id, named_in_config)
    derived = Dataset.derived_from["dataset"].as_string() == dataset.id
    return [
        *_named(session, "job", Job, "uses it", own, uses),
        *_datasets(session, "was derived from it", Dataset.project_id == dataset.project_id, derived),
    ]


def dependents_of_prompt_set(session: Session, prompt_set: PromptSet) -> list[Dependent]:
    own = Job.project_id == prompt_set.project_id
    return list(_named(session, "job", Job, "uses it", own, Job.prompt_set_id == prompt_set.id))


def contents_of_project(session: Session, project_id: str) -> list[Dependent]:
    """What a project holds: its jobs, datasets, files, and the prompt sets that it lists."""
    whole = Dataset.staged_until.is_(None)
    prompt_sets = (PromptSet.project_id == project_id, PromptSet.listed.is_(True))
    return [
        *_named(session, "job", Job, "is in it", Job.project_id == project_id),
        *_datasets(session, "is in it", Dataset.project_id == project_id, whole),
        *_named(session, "prompt_set", PromptSet, "is in it", *prompt_sets),
        *_files(session, project_id),
    ]


def active_jobs(session: Session, project_id: str) -> list[Dependent]:
    own = (Job.project_id == project_id, Job.status.not_in(TERMINAL))
    return list(_named(session, "job", Job, "has not ended", *own))


def _jobs(
    session: Session, job: Job, which: ColumnElement[bool], reason: str, but: Sequence[str]
) -> Iterator[Dependent]:
    own = Job.project_id == job.project_id
    yield from _named(session, "job", Job, reason, own, which, Job.id.not_in(but))


def _datasets(session: Session, reason: str, *which: ColumnElement[bool]) -> Iterator[Dependent]:
    yield from _named(session, "dataset", Dataset, reason, *which)


def _files(session: Session, project_id: str) -> Iterator[Dependent]:
    own = (File.project_id == project_id, File.deleted_at.is_(None))
    query = select(File.id, File.filename).where(*own).order_by(File.id).limit(MAX_NAMED)
    for file_id, name in session.execute(query):
        yield Dependent("file", file_id, name, "is in it")


def _named(
    session: Session, kind: str, table: Any, reason: str, *which: ColumnElement[bool]
) -> Iterator[Dependent]:
    """The first MAX_NAMED; the reason of the last one counts the rest."""
    query = select(table.id, table.name).where(*which).order_by(table.id)
    rows = session.execute(query.limit(MAX_NAMED)).all()
    more = 0
    if len(rows) == MAX_NAMED:
        more = (session.scalar(select(func.count()).select_from(table).where(*which)) or 0) - MAX_NAMED
    for number, (found_id, name) in enumerate(rows, start=1):
        last = number == len(rows) and more
        yield Dependent(kind, found_id, name, f"{reason}, as do {more} more" if last else reason)
