"""Stores datasets in batches that stay invisible until the last, and removes abandoned ones.

One transaction for a million rows would hold SQLite's only writer for a minute, and PostgreSQL's dead rows
for as long. A dataset whose upload was killed stays unseen: it is never half there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import clock, new_id, reading, transaction
from app.errors import Unavailable
from app.failpoints import failpoint
from app.given_up import stop_if_given_up
from app.intake.lines import COLUMNS, fields_of
from app.intake.uploaded_file import CheckedFile
from app.intake.warnings import data_warnings, held_out_warnings
from app.ledger.data.examples import guesses_of
from app.ledger.platform.audit_log import maker
from app.ledger.platform.quotas import check_dataset
from app.tables.base import JsonObject
from app.tables.data import Dataset, Example, PromptSet
from app.tables.platform import Project
from app.turns import in_turn
from star_engine.diagnostics.spark import upload_warnings
from star_engine.tasks.kind import reads_documents

CHUNK = 5000  # rows per transaction
CHUNK_BYTES = 8 << 20  # of them; the API holds so much of an upload, three times over
LEASE_SECONDS = 300  # renewed by every chunk, which takes 0.2 s
_COLUMNS = '"dataset_id", "' + '", "'.join(COLUMNS) + '"'
_COPY = f"COPY examples ({_COLUMNS}) FROM STDIN (ENCODING 'UTF8')"
_INSERT = f"INSERT INTO examples ({_COLUMNS}) VALUES ({', '.join('?' * (1 + len(COLUMNS)))})"  # noqa: S608


def store_dataset(
    engine: Engine,
    project_id: str,
    name: str,
    checked: CheckedFile,
    derived_from: JsonObject | None = None,
) -> tuple[Dataset, bool]:
    """The dataset with these examples and whether it is new: the same upload may have come in meanwhile."""
    dataset_id = new_id("ds")
    try:
        _begin(engine, dataset_id, project_id, name, checked, derived_from)
        for chunk in _chunks(checked.accepted):
            stop_if_given_up()
            with in_turn():
                _add(engine, dataset_id, chunk)
            failpoint("upload.after_batch")
        return _publish(engine, dataset_id, project_id, checked), True
    except BaseException as failure:
        with suppress(SQLAlchemyError):  # else the scheduler does it
            remove_staged(engine, dataset_id)
        if not isinstance(failure, IntegrityError):
            raise
        with reading(engine) as session:
            known = same_dataset(session, project_id, checked.sha256)
        if known is None:
            raise
        return known, False


def same_dataset(session: Session, project_id: str, sha256: str) -> Dataset | None:
    """The dataset that an upload of the same content, read the same way, has made."""
    query = select(Dataset).where(Dataset.project_id == project_id, Dataset.sha256 == sha256)
    return session.scalars(query).one_or_none()


def next_version(session: Session, table: type[Dataset] | type[PromptSet], project_id: str, name: str) -> int:
    """1, 2, 3... among those of one name. Those who ask at the same time take turns on the project's row."""
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update(key_share=True))
    query = select(func.max(table.version)).where(table.project_id == project_id, table.name == name)
    if table is Dataset:
        query = query.where(Dataset.staged_until.is_(None))
    return (session.scalar(query) or 0) + 1


def remove_abandoned(engine: Engine) -> int:
    """Remove what uploads have left behind that were killed in the middle; returns how many."""
    with reading(engine) as session:
        abandoned = list(session.scalars(select(Dataset.id).where(Dataset.staged_until < clock())))
    for dataset_id in abandoned:
        remove_staged(engine, dataset_id)
    return len(abandoned)


def remove_staged(engine: Engine, dataset_id: str) -> None:
    """Remove an incomplete dataset, a chunk at a time. A complete one is left unchanged."""
    with transaction(engine) as session:
        # Whoever still adds to it finds that it no longer may.
        gone = update(Dataset).where(Dataset.id == dataset_id, Dataset.staged_until.is_not(None))
        if session.connection().execute(gone.values(staged_until=clock(-LEASE_SECONDS))).rowcount == 0:
            return
    some = select(Example.id).where(Example.dataset_id == dataset_id).limit(CHUNK)
    removed = CHUNK
    while removed == CHUNK:
        with transaction(engine) as session:
            removed = session.connection().execute(delete(Example).where(Example.id.in_(some))).rowcount
    with transaction(engine) as session:
        session.delete(session.get_one(Dataset, dataset_id))


def _begin(
    engine: Engine,
    dataset_id: str,
    project_id: str,
    name: str,
    checked: CheckedFile,
    derived_from: JsonObject | None,
) -> None:
    with transaction(engine) as session:
        check_dataset(session, project_id, checked.size_bytes)  # while it is staged it counts already
        dataset = Dataset(
            id=dataset_id,
            project_id=project_id,
            name=name,
            kind=checked.how.kind,
            sha256=f"staged:{dataset_id}",  # two uploads of the same bytes may be under way
            size_bytes=checked.size_bytes,
            splits=checked.splits,
            derived_from=derived_from,
            staged_until=clock(LEASE_SECONDS),
            **maker(session),
        )
        session.add(dataset)


def _chunks(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines for one transaction each: their number and, as one may be long, their bytes are bounded."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line)
        if len(chunk) >= CHUNK or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _add(engine: Engine, dataset_id: str, chunk: Sequence[bytes]) -> None:
    with transaction(engine) as session:
        _renew(session, dataset_id)
        if engine.dialect.name == "postgresql":
            copy_examples(session, dataset_id, chunk)
        else:
            insert_examples(session, dataset_id, chunk)


def copy_examples(session: Session, dataset_id: str, lines: Sequence[bytes]) -> None:
    """Into PostgreSQL, which reads the lines itself. Whatever they hold, they get this dataset's id."""
    begin = f"{dataset_id}\t".encode()
    cursor = session.connection().connection.cursor()
    with cursor.copy(_COPY) as copy:  # psycopg's own cursor
        copy.write(begin + begin.join(lines))


def insert_examples(session: Session, dataset_id: str, lines: Sequence[bytes]) -> None:
    """Into SQLite."""
    rows = [(dataset_id, *fields_of(line)) for line in lines]
    session.connection().exec_driver_sql(_INSERT, rows)


def _renew(session: Session, dataset_id: str) -> None:
    mine = update(Dataset).where(Dataset.id == dataset_id, Dataset.staged_until > clock())
    if session.connection().execute(mine.values(staged_until=clock(LEASE_SECONDS))).rowcount == 0:
        raise Unavailable("Storing took too long and was taken for abandoned. Upload it again.")


def _publish(engine: Engine, dataset_id: str, project_id: str, checked: CheckedFile) -> Dataset:
    """IntegrityError if the project holds a dataset with this sha256 by now."""
    with reading(engine) as session:  # a second's work for a million rows: not under the project's lock
        kind = session.get_one(Dataset, dataset_id).kind
        asked = not reads_documents(kind)  # nothing is guessed about documents
        warnings = upload_warnings(guesses_of(session, dataset_id, kind, "train")) if asked else []
    carved = held_out_warnings(checked.how.validation, checked.splits)
    statistics = None if checked.statistics is None else checked.statistics()
    with transaction(engine) as session:
        _renew(session, dataset_id)
        dataset = session.get_one(Dataset, dataset_id)
        dataset.version = next_version(session, Dataset, project_id, dataset.name)
        dataset.sha256, dataset.staged_until = checked.sha256, None
        dataset.warnings = warnings + carved + data_warnings(statistics, kind)
        dataset.statistics = statistics
        return dataset
