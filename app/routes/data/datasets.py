"""Datasets: questions with answers, uploaded as files."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.data.datasets import (
    DatasetOut,
    ExampleOut,
    archive_dataset,
    delete_dataset,
    guessed_kind,
    read_dataset,
    read_datasets,
    read_examples,
    receive_dataset,
)
from app.http.auth import Reader, Submitter
from app.http.dependencies import Config, Db, UploadSlots
from app.http.idempotency import UploadedOnce, replayed
from app.http.router import api_router
from app.http.schemas import (
    HAS_DEPENDENTS,
    After,
    ArchivedFilter,
    Limit,
    LongLimit,
    Name,
    NameFilter,
    Page,
    already,
)
from app.http.uploads import receive_file
from app.intake.bucket import fetch_object
from app.intake.formats import Format
from app.intake.hub.fetch import PREFIX, Fetched, fetch_split
from app.intake.look.corrections import parse_corrections
from app.intake.mapping import parse_mapping
from app.intake.slots import ProjectSlots
from app.intake.uploaded_file import HowToRead, Received
from app.settings import Settings
from star_engine.tasks.examples import Split
from star_engine.tasks.kind import Kind

router = api_router("datasets", "/v1/datasets")


UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-ndjson": {"schema": {"type": "string"}},
            "text/csv": {"schema": {"type": "string"}},
            "text/plain": {"schema": {"type": "string"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": {
                "schema": {"type": "string", "format": "binary"}
            },
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    }
}


Mapped = Annotated[
    str | None,
    Query(
        alias="map",
        max_length=4000,
        description="Columns with other names: `question:prompt,answer:label`, or as JSON "
        '`{"question": "prompt", "choices": ["A", "B"]}`. Several columns for `question` are joined; '
        "`messages.0.content` is a column inside another.",
    ),
]
SkipBadRows = Annotated[
    bool, Query(description="Leave bad rows out instead of refusing the file; `warnings` say how many.")
]
Corrected = Annotated[
    str | None,
    Query(
        max_length=60_000,
        description='Rows by line, as JSON: `{"13": null, "15": {"answer": "4"}}` leaves row 13 out and '
        "replaces the answer of row 15. At most 1,000.",
    ),
]
Source = Annotated[
    str | None,
    Query(
        max_length=1200,
        description="`s3://BUCKET/KEY`: the platform fetches the file from a bucket that its operator "
        "allows; `hf:ORG/NAME[@REVISION][/CONFIG]/SPLIT[+SPLIT]`: a public dataset of the hub that its "
        "operator names, as in `hf:openai/gsm8k/main/train+test=validation`. The body stays empty.",
    ),
]


@router.post(
    "", status_code=201, responses=already(DatasetOut), summary="Upload a dataset", openapi_extra=UPLOAD
)
async def upload(
    caller: Submitter,
    db: Db,
    settings: Config,
    slots: UploadSlots,
    once: UploadedOnce,
    request: Request,
    response: Response,
    kind: Annotated[
        Kind | None,
        Query(description="How answers are verified; left out, only `documents` are known by their rows."),
    ] = None,
    name: Annotated[Name, Query()] = "dataset",
    validation: Annotated[
        int, Query(ge=0, le=10**9, description="Rows to hold out if no row is marked as held out.")
    ] = 0,
    seed: Annotated[int, Query(ge=0, lt=2**31, description="Seed of the choice of held-out rows.")] = 0,
    format_: Annotated[
        Format | None,
        Query(alias="format", description="If left out, detected from the file's first bytes, name or type."),
    ] = None,
    columns: Mapped = None,
    source: Source = None,
    allow_overlap: Annotated[
        bool,
        Query(
            description="Accept held-out rows whose question is also trained on; otherwise they are refused."
        ),
    ] = False,
    skip_bad_rows: SkipBadRows = False,
    corrections: Corrected = None,
) -> DatasetOut:
    """A file as the body or in the multipart field `file`, plain, gzip or zstd: JSONL with one
    `{"question", "answer", "choices"?, "solution"?, "id"?, "group"?, "split"?}` per line, or a
    JSON array, CSV, Parquet or an Excel workbook with these columns, text in UTF-8 or UTF-16; or
    no body and a `source`. Of kind `documents` a row is `{"text", "id"?, "group"?, "split"?}`, or the file is
    plain text, which is cut at blank lines. Every bad row
    is counted, the mistakes are described, equal ones together, and nothing is stored. The same content again
    is answered with 200 and the dataset that there is.
    """
    mapping, by_hand = parse_mapping(columns), parse_corrections(corrections)
    received = (await received_or_fetched(request, source, caller.project_id, settings, slots)).received
    if kind is None:
        kind = await _guess(received, settings)
    how = HowToRead(kind, validation, seed, mapping, allow_overlap, by_hand, skip_bad_rows)
    once = await run_in_threadpool(once.of_file, received.file)
    if (known := await run_in_threadpool(once.made, db)) is not None:
        received.file.close()
        return await run_in_threadpool(
            replayed, known, response, lambda one: read_dataset(db, caller.project_id, one)
        )
    dataset, new = await receive_dataset(
        db, caller.project_id, name, received, format_, how, settings, slots, once
    )
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    return dataset


async def received_or_fetched(
    request: Request, source: str | None, project_id: str, settings: Settings, slots: ProjectSlots
) -> Fetched:
    """The file of the request, or what its `source` names; the caller closes it. Raises Problem."""
    if source is None:
        return Fetched(await receive_file(request), "")
    return await slots.run(project_id, _fetched, source, project_id, settings)


def _fetched(source: str, project_id: str, settings: Settings) -> Fetched:
    if source.startswith(PREFIX):
        return fetch_split(source, settings)
    return Fetched(fetch_object(source, project_id, settings), source)


async def _guess(received: Received, settings: Config) -> Kind:
    try:
        return await run_in_threadpool(guessed_kind, received, settings)
    except BaseException:
        received.file.close()
        raise


@router.get("", summary="List datasets, newest first")
def list_(
    caller: Reader,
    db: Db,
    name: NameFilter = None,
    archived: ArchivedFilter = False,
    limit: Limit = 20,
    after: After = None,
) -> Page[DatasetOut]:
    return read_datasets(db, caller.project_id, name=name, archived=archived, after=after, limit=limit)


@router.get("/{dataset_id}", summary="Get a dataset")
def get(caller: Reader, db: Db, dataset_id: str) -> DatasetOut:
    return read_dataset(db, caller.project_id, dataset_id)


@router.delete(
    "/{dataset_id}", status_code=204, responses=HAS_DEPENDENTS, summary="Delete a dataset for good"
)
def delete(caller: Submitter, db: Db, dataset_id: str) -> None:
    """Not while a job uses it or a dataset was derived from it: 409, and `dependents` names them."""
    delete_dataset(db, caller.project_id, dataset_id)


@router.post("/{dataset_id}/archive", summary="Leave a dataset out of lists")
def archive(caller: Submitter, db: Db, dataset_id: str) -> DatasetOut:
    """It can be read and used as before."""
    return archive_dataset(db, caller.project_id, dataset_id, archived=True)[0]


@router.post("/{dataset_id}/unarchive", summary="List an archived dataset again")
def unarchive(caller: Submitter, db: Db, dataset_id: str) -> DatasetOut:
    return archive_dataset(db, caller.project_id, dataset_id, archived=False)[0]


@router.get("/{dataset_id}/examples", summary="List the examples of a dataset, in file order")
def examples(
    caller: Reader,
    db: Db,
    dataset_id: str,
    split: Split | None = None,
    limit: LongLimit = 20,
    after: After = None,
) -> Page[ExampleOut]:
    return read_examples(db, caller.project_id, dataset_id, split=split, after=after, limit=limit)
