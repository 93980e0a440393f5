"""Datasets: questions with answers, uploaded as JSONL, CSV or Parquet."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import Query, Request, Response
from pydantic import Field

from app.database import reading
from app.http.auth import Reader, Submitter
from app.http.dependencies import Config, Db, UploadSlots
from app.http.router import api_router
from app.http.schemas import After, Item, Limit, LongLimit, Name, NameFilter, Page, Resource, already, page
from app.http.uploads import receive_file
from app.intake.formats import Format
from app.intake.mapping import parse_mapping
from app.intake.uploaded_file import HowToRead
from app.ledger.data.datasets import get_dataset, list_datasets, upload_dataset
from app.ledger.data.examples import list_examples
from app.tables.data import Dataset, Example
from star_engine.tasks.examples import Split
from star_engine.tasks.kind import Kind

router = api_router("datasets", "/v1/datasets")


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
    warnings: Annotated[list[str], Field(description="What to know before training on it.")]
    derived_from: Annotated[
        dict[str, str] | None,
        Field(description="job, dataset and selection, where a job's examples made it."),
    ]


class ExampleOut(Item):
    """A question of a dataset. Its id is the row's own, or row-N of line N."""

    object: Literal["example"] = "example"
    question: str
    answer: str
    choices: list[str] | None
    solution: str | None
    group: str | None
    split: str


_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-ndjson": {"schema": {"type": "string"}},
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    }
}


@router.post(
    "", status_code=201, responses=already(DatasetOut), summary="Upload a dataset", openapi_extra=_UPLOAD
)
async def upload(
    caller: Submitter,
    db: Db,
    settings: Config,
    slots: UploadSlots,
    request: Request,
    response: Response,
    kind: Annotated[Kind, Query(description="How answers are verified.")],
    name: Annotated[Name, Query()] = "dataset",
    validation: Annotated[
        int, Query(ge=0, le=10**9, description="Rows to carve as held-out split where no row is marked so.")
    ] = 0,
    seed: Annotated[int, Query(ge=0, lt=2**31, description="Of the carving.")] = 0,
    format_: Annotated[
        Format | None, Query(alias="format", description="Left out: by the file's first bytes, name or type.")
    ] = None,
    columns: Annotated[
        str | None,
        Query(
            alias="map",
            max_length=4000,
            description="Columns that are called otherwise: `question:prompt,answer:label`, or as JSON "
            '`{"question": "prompt", "choices": ["A", "B"]}`.',
        ),
    ] = None,
) -> DatasetOut:
    """A file as the body or in the multipart field `file`, plain, gzip or zstd: JSONL with one
    `{"question", "answer", "choices"?, "solution"?, "id"?, "group"?, "split"?}` per line, or CSV or Parquet
    with these columns. Every bad row is counted, the first are described, and nothing is stored. The same
    content again is answered with 200 and the dataset that there is.
    """
    how = HowToRead(kind, validation, seed, parse_mapping(columns))
    received = await receive_file(request)
    try:
        # Threads of their own: those that wait here do not hold up other requests.
        dataset, new = await to_thread.run_sync(
            upload_dataset, db, caller.project_id, name, received, format_, how, settings, limiter=slots
        )
    finally:
        received.file.close()
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    return dataset_out(dataset)


@router.get("", summary="List datasets, newest first")
def list_(
    caller: Reader, db: Db, name: NameFilter = None, limit: Limit = 20, after: After = None
) -> Page[DatasetOut]:
    with reading(db) as session:
        found = list_datasets(session, caller.project_id, name=name, after=after, limit=limit + 1)
    return page([dataset_out(dataset) for dataset in found], limit)


@router.get("/{dataset_id}", summary="Get a dataset")
def get(caller: Reader, db: Db, dataset_id: str) -> DatasetOut:
    with reading(db) as session:
        return dataset_out(get_dataset(session, caller.project_id, dataset_id))


@router.get("/{dataset_id}/examples", summary="List the examples of a dataset, in file order")
def examples(
    caller: Reader,
    db: Db,
    dataset_id: str,
    split: Split | None = None,
    limit: LongLimit = 20,
    after: After = None,
) -> Page[ExampleOut]:
    with reading(db) as session:
        dataset = get_dataset(session, caller.project_id, dataset_id)
        found = list_examples(session, dataset.id, split=split, after=after, limit=limit + 1)
    return page([example_out(example) for example in found], limit)


def example_out(example: Example) -> ExampleOut:
    return ExampleOut(
        id=example.external_id,
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
        kind=Kind(dataset.kind),
        sha256=dataset.sha256,
        size_bytes=dataset.size_bytes,
        splits=dataset.splits,
        statistics=dataset.statistics,
        warnings=dataset.warnings or [],
        derived_from=dataset.derived_from,
    )
