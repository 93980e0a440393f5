"""Files as the OpenAI client uploads them: bytes in the storage, a row that names them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Engine, Exists, delete, exists, select
from sqlalchemy.orm import Session

from app.database import clock, new_id, reading, transaction
from app.errors import NotFound
from app.ledger.data.artifacts import needed
from app.ledger.platform.quotas import check_dataset
from app.storage import Storage
from app.tables.files import File

GRACE = timedelta(hours=1)  # from the deletion to the removal of the bytes: a job may just be reading them


def area_of(project_id: str) -> str:
    """Return the storage area of a project's files, separate from artifacts and from other projects."""
    return f"files/{project_id}"


def record_file(
    session: Session, project_id: str, filename: str, purpose: str, sha256: str, size_bytes: int
) -> File:
    """A file whose bytes have been stored in the project's area. Raises QuotaExceeded."""
    check_dataset(session, project_id, size_bytes)
    file = File(
        id=new_id("file"),
        project_id=project_id,
        filename=filename,
        purpose=purpose,
        sha256=sha256,
        area=area_of(project_id),
        size_bytes=size_bytes,
    )
    session.add(file)
    session.flush()
    session.refresh(file)
    return file


def get_file(session: Session, project_id: str, file_id: str) -> File:
    file = session.get(File, file_id)
    if file is None or file.project_id != project_id or file.deleted_at is not None:
        raise NotFound(f"There is no file {file_id}.")
    return file


def list_files(
    session: Session, project_id: str, *, purpose: str | None, after: str | None, limit: int
) -> Sequence[File]:
    """Newest first; `after` is the id of the last one seen."""
    query = select(File).where(File.project_id == project_id, File.deleted_at.is_(None))
    if purpose is not None:
        query = query.where(File.purpose == purpose)
    if after is not None:
        query = query.where(File.id < after)
    return session.scalars(query.order_by(File.id.desc()).limit(limit)).all()


def delete_file(session: Session, file: File) -> None:
    """Datasets and jobs made from it stay. Its bytes go a while later."""
    file.deleted_at = clock()
    session.flush()


def remove_deleted_files(engine: Engine, storage: Storage, idle: timedelta = GRACE) -> int:
    """Remove the bytes of files deleted `idle` ago that nothing else needs; returns how many rows went."""
    with reading(engine) as session:
        outdated = select(File).where(File.deleted_at < clock(-idle.total_seconds()))
        found = session.scalars(outdated).all()
        kept = needed(session, (file.sha256 for file in found if file.area is None))
    removed = 0
    for file in found:
        with transaction(engine) as session:
            held = file.sha256 in kept if file.area is None else session.scalar(select(_also_there(file)))
            if held or storage.area(file.area).delete(file.sha256, idle):
                session.execute(delete(File).where(File.id == file.id))
                removed += 1
    return removed


def _also_there(file: File) -> Exists:
    """Whether the project has uploaded the same bytes once more."""
    same = File.sha256 == file.sha256, File.area == file.area
    return exists().where(*same, File.deleted_at.is_(None))
