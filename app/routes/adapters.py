"""Adapters: the LoRA weights of an iteration, to look at and to download."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, StrictBool

from app.database import reading, transaction
from app.errors import NotFound, Problem
from app.http.auth import Reader, Submitter
from app.http.dependencies import Artifacts, Db
from app.http.problems import problem_response
from app.http.ranges import ByteRange, Unsatisfiable, matches, requested_range
from app.http.router import api_router
from app.http.schemas import After, In, Limit, Page, Resource, Timestamp, page
from app.http.tar import TarMember, tar_chunks, tar_size
from app.ledger.jobs.jobs import get_job
from app.ledger.jobs.retention import delete_adapter, pin_adapter
from app.ledger.results.adapters import get_adapter, list_adapters, list_project_adapters
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from star_engine.adapters.layout import WEIGHTS

router = api_router("adapters", "/v1")

MEDIA_TYPES = {".json": "application/json", ".md": "text/markdown; charset=utf-8"}
MOST_ITERATIONS = 200  # of a job: its adapters are one page


class AdapterFileOut(BaseModel):
    path: str
    size_bytes: int
    sha256: str
    url: str


class AdapterOut(Resource):
    object: Literal["adapter"] = "adapter"
    job: str
    iteration: int
    model: str
    files: list[AdapterFileOut]
    training: dict[str, Any]
    verification: dict[str, Any] | None
    pinned: bool
    deleted_at: Annotated[
        Timestamp | None, Field(description="Its weights are gone or about to go; card and manifest stay.")
    ]


class AdapterChanges(In):
    pinned: Annotated[StrictBool, Field(description="A pinned adapter is kept whatever the retention.")]


class Gone(Problem):
    status, code, title = 410, "adapter_deleted", "Adapter deleted"


class RangeNotSatisfiable(Problem):
    status, code, title = 416, "range_not_satisfiable", "Range not satisfiable"


@router.get("/jobs/{job_id}/adapters", summary="List the verified adapters of a job, oldest first")
def list_(caller: Reader, db: Db, job_id: str) -> Page[AdapterOut]:
    with reading(db) as session:
        job = get_job(session, caller.project_id, job_id)
        found = list_adapters(session, job.id)
    return page([_out(adapter, job) for adapter in found], MOST_ITERATIONS)


@router.get("/adapters", summary="List the verified adapters of all jobs, newest first")
def list_all(
    caller: Reader, db: Db, model: str | None = None, limit: Limit = 20, after: After = None
) -> Page[AdapterOut]:
    with reading(db) as session:
        found = list_project_adapters(session, caller.project_id, model=model, after=after, limit=limit + 1)
        return page([_out(adapter, job) for adapter, job in found], limit)


@router.get("/adapters/{adapter_id}", summary="Get an adapter")
def get(caller: Reader, db: Db, adapter_id: str) -> AdapterOut:
    """`job_...:best`, `job_...:last` and `job_...:3` (its iteration) stand for an adapter's id everywhere."""
    with reading(db) as session:
        return _out(*get_adapter(session, caller.project_id, adapter_id))


@router.patch("/adapters/{adapter_id}", summary="Pin or unpin an adapter")
def change(caller: Submitter, db: Db, adapter_id: str, sent: AdapterChanges) -> AdapterOut:
    with transaction(db) as session:
        adapter, job = get_adapter(session, caller.project_id, adapter_id)
        pin_adapter(session, adapter, pinned=sent.pinned)
        return _out(adapter, job)


@router.delete("/adapters/{adapter_id}", summary="Delete the weights of an adapter")
def delete(caller: Submitter, db: Db, adapter_id: str) -> AdapterOut:
    """Its weights can be downloaded and asked no longer; their bytes go an hour later."""
    with transaction(db) as session:
        adapter, job = get_adapter(session, caller.project_id, adapter_id)
        delete_adapter(session, adapter)
        return _out(adapter, job)


@router.get(
    "/adapters/{adapter_id}/files/{path:path}",
    summary="Download a file of an adapter",
    response_class=StreamingResponse,
)
def file(
    caller: Reader, db: Db, storage: Artifacts, request: Request, adapter_id: str, path: str
) -> Response:
    """Resumable: takes one Range, with If-Range. The ETag is the file's SHA-256."""
    entry = _entry(_downloadable(db, caller.project_id, adapter_id), path)
    size, sha = entry["size_bytes"], entry["sha256"]
    etag = f'"sha256-{sha}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(sha)).decode()}:",
        "X-Content-Type-Options": "nosniff",
    }
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    try:
        part = requested_range(request.headers.get("range"), request.headers.get("if-range"), etag, size)
    except Unsatisfiable as unsatisfiable:
        refusal = RangeNotSatisfiable(f"The file has no bytes in this range: {unsatisfiable}.")
        return problem_response(request, refusal, headers | {"Content-Range": f"bytes */{size}"})
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    whole = part or ByteRange(0, size)
    headers["Content-Length"] = str(whole.stop - whole.start)
    return StreamingResponse(
        storage.open_range(sha, whole.start, whole.stop),
        status_code=200 if part is None else 206,
        media_type=_media_type(path),
        headers=headers,
    )


@router.get(
    "/adapters/{adapter_id}/archive",
    summary="Download an adapter as one .tar",
    response_class=StreamingResponse,
)
def archive(caller: Reader, db: Db, storage: Artifacts, adapter_id: str) -> StreamingResponse:
    """Holds exactly the adapter's files, at its top; the same bytes every time."""
    adapter = _downloadable(db, caller.project_id, adapter_id)
    if adapter.deleted_at is not None:
        raise _gone(adapter)
    modified = int(adapter.created_at.timestamp())
    members = [
        TarMember(entry["path"], entry["size_bytes"], modified, entry["sha256"])
        for entry in sorted(adapter.files, key=lambda entry: str(entry["path"]))
    ]
    for member in members:
        storage.size(member.sha256)  # missing: an error now, not a torn archive later
    return StreamingResponse(
        tar_chunks(members, storage),
        media_type="application/x-tar",
        headers={
            "Content-Length": str(tar_size(members)),
            "Content-Disposition": f'attachment; filename="{adapter_id}.tar"',
            "X-Content-Type-Options": "nosniff",
        },
    )


def _downloadable(db: Db, project_id: str, adapter_id: str) -> Adapter:
    with reading(db) as session:
        return get_adapter(session, project_id, adapter_id)[0]


def _entry(adapter: Adapter, path: str) -> dict[str, Any]:
    """The recorded file of exactly this name: no path of the caller's ever reaches the storage."""
    if path == WEIGHTS and adapter.deleted_at is not None:
        raise _gone(adapter)
    for entry in adapter.files:
        if entry["path"] == path:
            return dict(entry)
    names = ", ".join(sorted(str(entry["path"]) for entry in adapter.files))
    raise NotFound(f"The adapter has no file {path!r}, but {names}.")


def _gone(adapter: Adapter) -> Gone:
    return Gone(
        f"The weights of {adapter.id} were deleted. Its manifest.json names everything that makes them again."
    )


def _media_type(path: str) -> str:
    suffix = path[path.rfind(".") :]
    return MEDIA_TYPES.get(suffix, "application/octet-stream")


def _out(adapter: Adapter, job: Job) -> AdapterOut:
    files = [
        AdapterFileOut(**entry, url=f"/v1/adapters/{adapter.id}/files/{entry['path']}")
        for entry in adapter.files
    ]
    return AdapterOut(
        id=adapter.id,
        created_at=adapter.created_at,
        job=adapter.job_id,
        iteration=adapter.iteration_number,
        model=job.model_id,
        files=files,
        training=adapter.training,
        verification=adapter.verification,
        pinned=adapter.pinned,
        deleted_at=adapter.deleted_at,
    )
