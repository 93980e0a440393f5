"""Locks between deleting an object and making a job from it: one waits for the other, and then sees it."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.tables.data import Dataset, PromptSet
from app.tables.jobs import Job
from app.tables.platform import Project
from star_engine.config.star import StarConfig

Row = TypeVar("Row", Dataset, PromptSet, Job, Project)


def hold_inputs(session: Session, dataset_id: str, prompt_set_id: str, config: StarConfig) -> None:
    """Keep what a new job refers to from being deleted until this transaction ends. Raises NotFound."""
    others = [*config.evaluation.also, *(mix.dataset for mix in config.training_set.mix)]
    for one in sorted({dataset_id, *others}):
        _hold(session, Dataset, one, "dataset")
    _hold(session, PromptSet, prompt_set_id, "prompt set")


def hold_job(session: Session, job_id: str) -> None:
    """The same for a job that a fork, an evaluation or a trial is made from.

    FOR KEY SHARE: the job itself goes on meanwhile, since the copies of a fork may take minutes.
    """
    _hold(session, Job, job_id, "job")


def lock_to_delete(session: Session, table: type[Row], key: str, word: str) -> Row:
    """The row, locked against those who hold it. Raises NotFound where it has been deleted by now."""
    query = select(table).where(table.id == key).with_for_update()
    found = session.scalars(query, execution_options={"populate_existing": True}).one_or_none()
    if found is None:
        raise NotFound(f"There is no {word} {key}.")
    return found


def _hold(session: Session, table: type[Dataset] | type[PromptSet] | type[Job], key: str, word: str) -> None:
    query = select(table.id).where(table.id == key).with_for_update(read=True, key_share=True)
    if session.scalar(query) is None:
        raise NotFound(f"There is no {word} {key}.")
