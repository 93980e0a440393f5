"""Marks objects as deleted, or as archived.

Deleted ones are gone for everybody at once (app/tables/base.py); app/ledger/deletion/remove.py removes their
rows and bytes afterwards, a batch at a time.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import clock
from app.failpoints import failpoint
from app.ledger.deletion.dependents import (
    active_jobs,
    contents_of_project,
    dependents_of_dataset,
    dependents_of_job,
    dependents_of_prompt_set,
    refuse_active,
    refuse_dependents,
)
from app.ledger.deletion.hold import lock_to_delete
from app.ledger.jobs.relations import baselines_of
from app.tables.data import Dataset, PromptSet
from app.tables.jobs import Job
from app.tables.platform import Project
from app.tables.rationales import Adapter
from app.tables.statuses import Purpose


def delete_job(session: Session, job_id: str, *, baselines: bool = False) -> None:
    """Delete a job that has ended, with all that it recorded and the trials of its adapters.

    What it used stays in the usage. `baselines`: its baselines too. Raises Conflict where one of them has
    not ended, or where something depends on it.
    """
    family = [lock_to_delete(session, Job, job_id, "job")]
    if baselines:
        family += [lock_to_delete(session, Job, one.id, "job") for one in baselines_of(session, job_id)]
    ids = [one.id for one in family]
    for one in family:
        refuse_active(one)
        refuse_dependents(f"The job {one.id}", dependents_of_job(session, one, but=ids))
    adapters = select(Adapter.id).where(Adapter.job_id.in_(ids))
    trials = select(Job).where(Job.adapter_id.in_(adapters), Job.purpose == Purpose.TRIAL)
    for one in (*family, *session.scalars(trials).all()):
        one.deleted_at = clock()
    session.flush()
    failpoint("delete.before_mark")


def delete_dataset(session: Session, dataset_id: str) -> None:
    """Delete a dataset. Raises Conflict where a job uses it or another dataset was derived from it.

    The same file can be uploaded again at once: it becomes another dataset.
    """
    dataset = lock_to_delete(session, Dataset, dataset_id, "dataset")
    refuse_dependents(f"The dataset {dataset.id}", dependents_of_dataset(session, dataset))
    dataset.deleted_at = clock()
    dataset.sha256 = f"deleted:{dataset.id}"
    session.flush()


def delete_prompt_set(session: Session, prompt_set_id: str) -> None:
    """Delete a prompt set. Raises Conflict where a job uses it."""
    prompt_set = lock_to_delete(session, PromptSet, prompt_set_id, "prompt set")
    refuse_dependents(f"The prompt set {prompt_set.id}", dependents_of_prompt_set(session, prompt_set))
    prompt_set.deleted_at = clock()
    session.flush()


def delete_project(session: Session, project_id: str, *, contents: bool) -> None:
    """End a project and its keys. Its name can be given again; its usage and its audit log stay.

    Raises Conflict where a job of it has not ended and, unless with its `contents`, where it holds anything.
    """
    project = lock_to_delete(session, Project, project_id, "project")
    active = active_jobs(session, project.id)
    refuse_dependents(f"The project {project.id}", active, "Cancel its jobs first.")
    if not contents:
        fix = "Send `contents=true` to delete all that it holds with it."
        refuse_dependents(f"The project {project.id}", contents_of_project(session, project.id), fix)
    project.deleted_at = clock()
    project.name = f"deleted:{project.id}"
    session.flush()


def archive_job(session: Session, job_id: str, *, archived: bool) -> tuple[Job, bool]:
    """Leave a job that has ended out of lists, or list it again; the job, and whether that changed it."""
    job = lock_to_delete(session, Job, job_id, "job")
    if archived:
        refuse_active(job)
    return job, _archive(session, job, archived=archived)


def archive_dataset(session: Session, dataset_id: str, *, archived: bool) -> tuple[Dataset, bool]:
    """The same of a dataset."""
    dataset = lock_to_delete(session, Dataset, dataset_id, "dataset")
    return dataset, _archive(session, dataset, archived=archived)


def _archive(session: Session, row: Job | Dataset, *, archived: bool) -> bool:
    if (row.archived_at is not None) == archived:
        return False
    row.archived_at = clock() if archived else None
    session.flush()
    session.refresh(row)
    return True
