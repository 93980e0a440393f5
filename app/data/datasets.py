"""Datasets as they are shown, and their upload."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from app.database import reading, transaction
from app.errors import Invalid
from app.http.idempotency import UNKEYED, Once
from app.http.schemas import Item, MadeByOut, Page, Resource, Timestamp, made_by, page
from app.intake.formats import PACKED, Format, format_of, rows_of
from app.intake.mapping import with_text
from app.intake.slots import ProjectSlots
from app.intake.unpack import unpacked
from app.intake.uploaded_file import HowToRead, Received, checked_file, content_sha256, looks_like
from app.ledger.data.datasets import get_dataset, list_datasets
from app.ledger.data.examples import list_examples, pairs
from app.ledger.data.staging import same_dataset, store_dataset
from app.ledger.deletion import mark
from app.settings import Settings
from app.tables.data import Dataset, Example
from star_engine.data.columns import ANSWERS
from star_engine.data.row_errors import BadRows
from star_engine.tasks.examples import Split, as_turns
from star_engine.tasks.kind import DOCUMENTS, Kind


class DatasetOut(Resource):
    object: Literal["dataset"] = "dataset"
    name: str
    version: int  # counts up among those of one name
    kind: Kind
    sha256: str  # of the bytes and of how they were read
    size_bytes: int
    splits: dict[str, int]
    statistics: Annotated[
        dict[str, Any] | None,
        Field(
            description="Counted at upload: lengths in characters, answers, choices, groups, duplicates, and "
            "what held-out questions share with those trained on. Null if uploaded before it was counted."
        ),
    ]
    warnings: Annotated[list[str], Field(description="Warnings about the data.")]
    derived_from: Annotated[
        dict[str, str] | None,
        Field(description="job, dataset and selection, if it was derived from a job's examples."),
    ]
    archived_at: Annotated[Timestamp | None, Field(description="Since when it is left out of lists.")]
    created_by: MadeByOut | None


class EarlierTurnOut(BaseModel):
    role: Literal["user", "assistant"]
    content: str


class ExampleOut(Item):
    """A question of a dataset. Its id is the row's own, or row-N of line N."""

    object: Literal["example"] = "example"
    context: list[EarlierTurnOut] = Field(
        default=[], description="Turns before the question, where it is one of a conversation."
    )
    question: str
    answer: str
    choices: list[str] | None
    solution: str | None
    group: str | None
    split: str


async def receive_dataset(
    db: Engine,
    project_id: str,
    name: str,
    received: Received,
    format_: Format | None,
    how: HowToRead,
    settings: Settings,
    slots: ProjectSlots,
    once: Once = UNKEYED,
) -> tuple[DatasetOut, bool]:
    """Uploads the received file and closes it. Returns the dataset and whether it is new."""
    try:
        dataset, new = await slots.run(
            project_id, upload_dataset, db, project_id, name, received, format_, how, settings
        )
        if once.key is not None:
            await run_in_threadpool(once.remember_existing, db, dataset.id)
    finally:
        received.file.close()
    return dataset_out(dataset), new


def guessed_kind(received: Received, settings: Settings) -> Kind:
    """The kind of a file that was sent without one: documents, where its first row is a text alone.

    How answers are verified cannot be guessed: raises Invalid for anything else.
    """
    with unpacked(received.file, received.encoding, settings.max_unpacked_bytes) as plain:
        try:
            looks = format_of(plain.file, received.name, received.content_type, documents=True)
            rows = rows_of(plain.file, looks, with_text((), DOCUMENTS), settings.max_line_bytes)
            first = {} if looks in PACKED else next((row for _, row in rows), {})
        except BadRows:
            first = {}
    if not isinstance(first, BadRows) and first.get("text") and not first.keys() & {"question", *ANSWERS}:
        return DOCUMENTS
    fix = f"Say how answers are verified: kind is one of {', '.join(Kind)}."
    reason = "It was left out, and the first row is no document with a text alone."
    raise Invalid.for_field("kind", reason, fix, code="kind_required")


def upload_dataset(
    db: Engine,
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
        with reading(db) as session:
            known = same_dataset(session, project_id, sha)
        if known is not None:
            return known, False
        as_what = looks_like(plain, received, format_, how)
        with checked_file(plain, as_what, how, settings) as checked:
            return store_dataset(db, project_id, name, checked)


def read_datasets(
    db: Engine,
    project_id: str,
    *,
    limit: int,
    name: str | None = None,
    archived: bool = False,
    after: str | None = None,
) -> Page[DatasetOut]:
    """A page of the project's datasets, newest first; of the archived ones only where these are asked for."""
    with reading(db) as session:
        found = list_datasets(session, project_id, name=name, archived=archived, after=after, limit=limit + 1)
    return page([dataset_out(dataset) for dataset in found], limit)


def read_dataset(db: Engine, project_id: str, dataset_id: str) -> DatasetOut:
    with reading(db) as session:
        return dataset_out(get_dataset(session, project_id, dataset_id))


def delete_dataset(db: Engine, project_id: str, dataset_id: str) -> None:
    """From then on it is not there. Raises Conflict where something depends on it."""
    with transaction(db) as session:
        mark.delete_dataset(session, get_dataset(session, project_id, dataset_id).id)


def archive_dataset(
    db: Engine, project_id: str, dataset_id: str, *, archived: bool
) -> tuple[DatasetOut, bool]:
    """The dataset, and whether this changed it."""
    with transaction(db) as session:
        get_dataset(session, project_id, dataset_id)
        dataset, changed = mark.archive_dataset(session, dataset_id, archived=archived)
        return dataset_out(dataset), changed


def read_examples(
    db: Engine,
    project_id: str,
    dataset_id: str,
    *,
    limit: int,
    split: Split | None = None,
    after: str | None = None,
) -> Page[ExampleOut]:
    """A page of the dataset's examples, in file order."""
    with reading(db) as session:
        dataset = get_dataset(session, project_id, dataset_id)
        found = list_examples(session, dataset.id, split=split, after=after, limit=limit + 1)
    return page([example_out(example) for example in found], limit)


def example_out(example: Example) -> ExampleOut:
    return ExampleOut(
        id=example.external_id,
        context=[EarlierTurnOut.model_validate(turn) for turn in as_turns(pairs(example.context))],
        question=example.question,
        answer=example.answer,
        choices=example.choices,
        solution=example.solution,
        group=example.group,
        split=example.split,
    )


def dataset_out(dataset: Dataset) -> DatasetOut:
    return DatasetOut(
        id=dataset.id,
        created_at=dataset.created_at,
        name=dataset.name,
        version=dataset.version,
        kind=dataset.kind,
        sha256=dataset.sha256,
        size_bytes=dataset.size_bytes,
        splits=dataset.splits,
        statistics=dataset.statistics,
        warnings=dataset.warnings or [],
        derived_from=dataset.derived_from,
        archived_at=dataset.archived_at,
        created_by=made_by(dataset.created_by, dataset.creator),
    )
