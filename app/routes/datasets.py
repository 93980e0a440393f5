"""Datasets: questions with answers, uploaded as JSONL."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.auth import Reader, Submitter
from app.context import Config, Db
from app.database import reading
from app.dataset_files import HowToRead
from app.ledger.datasets import get_dataset, list_datasets, upload_dataset
from app.ledger.examples import list_examples
from app.models.data import Dataset, Example
from app.schemas import After, Item, Limit, LongLimit, Name, Page, Resource, page
from app.uploads import receive_file
from star_engine.config import Kind
from star_engine.examples import Split

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


class DatasetOut(Resource):
    object: Literal["dataset"] = "dataset"
    name: str
    kind: Kind
    sha256: str  # of the bytes and of how they were read
    size_bytes: int
    splits: dict[str, int]


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
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    }
}


@router.post("", status_code=201, summary="Upload a dataset", openapi_extra=_UPLOAD)
async def upload(
    caller: Submitter,
    db: Db,
    settings: Config,
    request: Request,
    response: Response,
    kind: Annotated[Kind, Query(description="How answers are verified.")],
    name: Annotated[Name, Query()] = "dataset",
    validation: Annotated[
        int, Query(ge=0, le=10**9, description="Rows to carve as held-out split where no row is marked so.")
    ] = 0,
    seed: Annotated[int, Query(ge=0, lt=2**31, description="Of the carving.")] = 0,
) -> DatasetOut:
    """JSONL, one `{"question", "answer", "choices"?, "solution"?, "id"?, "group"?, "split"?}` per line, as
    the body or in the multipart field `file`. Every bad row is named and nothing is stored. The same content
    again is answered with 200 and the dataset that there is.
    """
    how = HowToRead(kind, validation, seed)
    file = await receive_file(request)
    try:
        dataset, new = await run_in_threadpool(
            upload_dataset, db, caller.project_id, name, file, how, settings
        )
    finally:
        file.close()
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    return _out(dataset)


@router.get("", summary="List datasets, newest first")
def list_(caller: Reader, db: Db, limit: Limit = 20, after: After = None) -> Page[DatasetOut]:
    with reading(db) as session:
        found = list_datasets(session, caller.project_id, after=after, limit=limit + 1)
    return page([_out(dataset) for dataset in found], limit)


@router.get("/{dataset_id}", summary="Get a dataset")
def get(caller: Reader, db: Db, dataset_id: str) -> DatasetOut:
    with reading(db) as session:
        return _out(get_dataset(session, caller.project_id, dataset_id))


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


def _out(dataset: Dataset) -> DatasetOut:
    return DatasetOut(
        id=dataset.id,
        created_at=dataset.created_at,
        name=dataset.name,
        kind=Kind(dataset.kind),
        sha256=dataset.sha256,
        size_bytes=dataset.size_bytes,
        splits=dataset.splits,
    )
