"""Datasets: recorded whole or not at all, and once per project however often they are uploaded."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.database import reading
from app.errors import NotFound
from app.intake.formats import Format, format_of
from app.intake.unpack import unpacked
from app.intake.uploaded_file import HowToRead, Received, checked_file, content_sha256
from app.ledger.data.staging import same_dataset, store_dataset
from app.settings import Settings
from app.tables.data import Dataset


def upload_dataset(
    engine: Engine,
    project_id: str,
    name: str,
    received: Received,
    format_: Format | None,
    how: HowToRead,
    settings: Settings,
) -> tuple[Dataset, bool]:
    """The dataset in this file and whether it is new. For bad rows raises Invalid and stores nothing.

    format_ None: as the file's first bytes, its name or its type say.
    """
    with unpacked(received.file, received.encoding, settings.max_unpacked_bytes) as plain:
        sha = content_sha256(plain.sha256, how)
        with reading(engine) as session:
            known = same_dataset(session, project_id, sha)
        if known is not None:
            return known, False
        as_what = format_ or format_of(plain.file, received.name, received.content_type)
        with checked_file(plain, as_what, how, settings) as checked:
            return store_dataset(engine, project_id, name, checked)


def get_dataset(session: Session, project_id: str, dataset_id: str) -> Dataset:
    dataset = session.get(Dataset, dataset_id)
    if dataset is None or dataset.project_id != project_id or dataset.staged_until is not None:
        raise NotFound(f"There is no dataset {dataset_id}.")
    return dataset


def list_datasets(
    session: Session, project_id: str, *, name: str | None = None, after: str | None, limit: int
) -> Sequence[Dataset]:
    """Newest first; `after` is the id of the last one seen."""
    query = select(Dataset).where(Dataset.project_id == project_id, Dataset.staged_until.is_(None))
    query = query.order_by(Dataset.id.desc()).limit(limit)
    if name is not None:
        query = query.where(Dataset.name == name)
    if after is not None:
        query = query.where(Dataset.id < after)
    return session.scalars(query).all()
