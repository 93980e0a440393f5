"""The one reference check that every removal of bytes must ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, or_, select
from sqlalchemy.orm import Session

from app.tables.files import File
from app.tables.jobs import Job, Step
from app.tables.rationales import Adapter
from star_engine.adapters.layout import REMOVABLE

NAMES_AT_ONCE = 50  # SHA-256 looked for by one query


def needed(session: Session, names: Iterable[str]) -> set[str]:
    """Return those of the SHA-256 `names` in the storage's common area that some row still references.

    A file, any file of an adapter (of a deleted one all but the weights: card and manifest stay) and any
    checkpoint of a step; none of a job that is deleted. Datasets, prompt sets and exports have no bytes in
    the storage.
    """
    asked = sorted(set(names))
    parts = [asked[at : at + NAMES_AT_ONCE] for at in range(0, len(asked), NAMES_AT_ONCE)]
    return {sha for part in parts for sha in _needed(session, part)}


def _needed(session: Session, names: Sequence[str]) -> Iterator[str]:
    alive = File.sha256.in_(names), File.area.is_(None), File.deleted_at.is_(None)
    yield from session.scalars(select(File.sha256).where(*alive))
    held = select(Adapter.files, Adapter.deleted_at).join(Job, Job.id == Adapter.job_id)  # not deleted
    held = held.where(_any_of(Adapter.files, names))
    for files, deleted_at in session.execute(held):
        kept = [entry for entry in files if deleted_at is None or entry["path"] not in REMOVABLE]
        yield from (entry["sha256"] for entry in kept if entry["sha256"] in names)
    resumable = select(Step.checkpoint).join(Job, Job.id == Step.job_id)
    resumable = resumable.where(Step.checkpoint.is_not(None), _any_of(Step.checkpoint, names))
    for checkpoint in session.scalars(resumable):
        yield from (entry["sha256"] for entry in (checkpoint or {})["files"] if entry["sha256"] in names)


def _any_of(column: Any, names: Sequence[str]) -> ColumnElement[bool]:
    return or_(*(cast(column, Text).contains(sha) for sha in names))
