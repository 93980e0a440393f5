"""Records datasets completely or not at all, and once per project however often they are uploaded."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.tables.data import Dataset


def get_dataset(session: Session, project_id: str, dataset_id: str) -> Dataset:
    dataset = session.get(Dataset, dataset_id)
    if dataset is None or dataset.project_id != project_id or dataset.staged_until is not None:
        raise NotFound(f"There is no dataset {dataset_id}.")
    return dataset


def list_datasets(
    session: Session,
    project_id: str,
    *,
    name: str | None = None,
    archived: bool = False,
    after: str | None,
    limit: int,
) -> Sequence[Dataset]:
    """Newest first; `after` is the id of the last one seen. `archived`: those that are, and no others."""
    query = select(Dataset).where(Dataset.project_id == project_id, Dataset.staged_until.is_(None))
    query = query.order_by(Dataset.id.desc()).limit(limit)
    query = query.where(Dataset.archived_at.is_not(None) if archived else Dataset.archived_at.is_(None))
    if name is not None:
        query = query.where(Dataset.name == name)
    if after is not None:
        query = query.where(Dataset.id < after)
    return session.scalars(query).all()
