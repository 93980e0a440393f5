"""Drafts of prompt sets: the base model is asked a few train questions, by a job of one phase, not listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.ledger.data.examples import load_examples, selected_positions
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.results.rationales import as_rationale
from app.tables.data import Example
from app.tables.jobs import Job
from app.tables.rationales import Rationale
from app.tables.statuses import Purpose
from star_engine.sampling import rationales as engine
from star_engine.tasks import examples as tasks


def get_draft(session: Session, project_id: str, job_id: str) -> Job:
    """Raises NotFound, and Gone where its texts were removed, as the project's retention says."""
    job = session.get(Job, job_id)
    if job is None or job.project_id != project_id or job.purpose != Purpose.DRAFT:
        raise NotFound(f"There is no draft {job_id}.")
    return job_with_texts(session, project_id, job_id)


def read_draft(
    session: Session, job: Job
) -> tuple[Sequence[tasks.Example], Mapping[str, Sequence[engine.Rationale]]]:
    """The questions that it asks, and the tries at each so far, by the question's id."""
    positions = selected_positions(session, job.dataset_id, job.config, 1)
    query = (
        select(Rationale, Example.external_id)
        .join(Example, Example.id == Rationale.example_id)
        .where(Rationale.job_id == job.id)
        .order_by(Rationale.route, Rationale.sample)
    )
    tries: defaultdict[str, list[engine.Rationale]] = defaultdict(list)
    for row, name in session.execute(query):
        tries[name].append(as_rationale(row, name))
    return [one for _, one in load_examples(session, job.dataset_id, "train", positions)], tries
