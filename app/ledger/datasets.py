"""Datasets: recorded whole or not at all, and once per project however often they are uploaded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from tempfile import TemporaryFile

from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import new_id, reading, transaction
from app.dataset_files import CheckedFile, HowToRead, check_file, content_sha256
from app.errors import NotFound
from app.intake.formats import Format, format_of
from app.intake.unpack import unpacked
from app.ledger.examples import guesses_of
from app.models.data import Dataset, Example
from app.settings import Settings
from app.uploads import Received
from star_engine.audits.spark import upload_warnings

CHUNK = 5000  # rows per INSERT


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
    with (
        unpacked(received.file, received.encoding, settings.max_unpacked_bytes) as plain,
        TemporaryFile() as accepted,
    ):
        sha = content_sha256(plain.sha256, how)
        with reading(engine) as session:
            known = same_dataset(session, project_id, sha)
        if known is not None:
            return known, False
        as_what = format_ or format_of(plain.file, received.name, received.content_type)
        checked = check_file(plain, as_what, how, accepted, settings)
        try:
            with transaction(engine) as session:
                return record_dataset(session, project_id, name, checked), True
        except IntegrityError:  # the same upload came in beside this one
            with reading(engine) as session:
                known = same_dataset(session, project_id, sha)
            if known is None:
                raise
            return known, False


def record_dataset(session: Session, project_id: str, name: str, checked: CheckedFile) -> Dataset:
    """Store a dataset and its examples. IntegrityError if the project holds one with the same sha256."""
    dataset = Dataset(
        id=new_id("ds"),
        project_id=project_id,
        name=name,
        kind=checked.how.kind.value,
        sha256=checked.sha256,
        size_bytes=checked.size_bytes,
        splits=checked.splits,
    )
    session.add(dataset)
    session.flush()
    session.refresh(dataset)
    rows = checked.rows()
    while chunk := [{"dataset_id": dataset.id, **row} for row in islice(rows, CHUNK)]:
        session.execute(insert(Example), chunk)
    dataset.warnings = upload_warnings(guesses_of(session, dataset.id, checked.how.kind, "train"))
    return dataset


def same_dataset(session: Session, project_id: str, sha256: str) -> Dataset | None:
    """The dataset that an upload of the same content, read the same way, has made."""
    query = select(Dataset).where(Dataset.project_id == project_id, Dataset.sha256 == sha256)
    return session.scalars(query).one_or_none()


def get_dataset(session: Session, project_id: str, dataset_id: str) -> Dataset:
    dataset = session.get(Dataset, dataset_id)
    if dataset is None or dataset.project_id != project_id:
        raise NotFound(f"There is no dataset {dataset_id}.")
    return dataset


def list_datasets(session: Session, project_id: str, *, after: str | None, limit: int) -> Sequence[Dataset]:
    """Newest first; `after` is the id of the last one seen."""
    query = select(Dataset).where(Dataset.project_id == project_id).order_by(Dataset.id.desc()).limit(limit)
    if after is not None:
        query = query.where(Dataset.id < after)
    return session.scalars(query).all()
