"""Adapters as they are shown, changed and downloaded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import Engine

from app.database import reading, transaction
from app.errors import Gone, NotFound
from app.http.downloads import StoredFile
from app.http.ranges import ANY_VERSION, Expected
from app.http.schemas import In, Page, Resource, Timestamp, page
from app.http.tar import TarMember
from app.ledger.jobs import retention
from app.ledger.jobs.jobs import get_job
from app.ledger.results.adapters import (
    get_adapter,
    list_adapters,
    list_project_adapters,
    published_files,
)
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from star_engine.adapters.layout import HEAD, WEIGHTS
from star_engine.adapters.roles import AdapterRole

MEDIA_TYPES = {".json": "application/json", ".md": "text/markdown; charset=utf-8"}
MAX_ADAPTERS = 200 * len(AdapterRole)  # of a job: one per iteration and role, on one page


class AdapterFileOut(BaseModel):
    path: str
    size_bytes: int
    sha256: str
    url: str


class AdapterOut(Resource):
    object: Literal["adapter"] = "adapter"
    job: str
    iteration: int
    role: Annotated[
        AdapterRole,
        Field(description="What it was trained for; an iteration has at most one adapter of each role."),
    ]
    model: str
    files: list[AdapterFileOut]
    training: dict[str, Any]
    verification: dict[str, Any] | None
    pinned: bool
    deleted_at: Annotated[
        Timestamp | None, Field(description="The weights are deleted or about to be; card and manifest stay.")
    ]


class AdapterChanges(In):
    pinned: Annotated[StrictBool, Field(description="A pinned adapter is exempt from retention.")]


class AdapterDeleted(Gone):
    code, title = "adapter_deleted", "Adapter deleted"


def read_job_adapters(db: Engine, project_id: str, job_id: str) -> Page[AdapterOut]:
    """The verified adapters of one job, oldest first."""
    with reading(db) as session:
        job = get_job(session, project_id, job_id)
        found = list_adapters(session, job.id)
    return page([_out(adapter, job) for adapter in found], MAX_ADAPTERS)


def read_adapters(
    db: Engine, project_id: str, *, limit: int, model: str | None = None, after: str | None = None
) -> Page[AdapterOut]:
    """A page of the verified adapters of all jobs, newest first."""
    with reading(db) as session:
        found = list_project_adapters(session, project_id, model=model, after=after, limit=limit + 1)
        return page([_out(adapter, job) for adapter, job in found], limit)


def read_adapter(db: Engine, project_id: str, adapter_id: str) -> AdapterOut:
    with reading(db) as session:
        return _out(*get_adapter(session, project_id, adapter_id))


def change_adapter(
    db: Engine,
    project_id: str,
    adapter_id: str,
    sent: AdapterChanges,
    expected: Expected = ANY_VERSION,
) -> AdapterOut:
    with transaction(db) as session:
        adapter, job = get_adapter(session, project_id, adapter_id)
        expected.check(session, adapter, lambda: _out(adapter, job))
        retention.pin_adapter(session, adapter, pinned=sent.pinned)
        return _out(adapter, job)


def delete_adapter(
    db: Engine, project_id: str, adapter_id: str, expected: Expected = ANY_VERSION
) -> AdapterOut:
    """Deletes the weights; card and manifest stay."""
    with transaction(db) as session:
        adapter, job = get_adapter(session, project_id, adapter_id)
        expected.check(session, adapter, lambda: _out(adapter, job))
        retention.delete_adapter(session, adapter)
        return _out(adapter, job)


def find_adapter_file(db: Engine, project_id: str, adapter_id: str, path: str) -> StoredFile:
    """Find one file of the adapter to send. Raises AdapterDeleted if the weights were deleted."""
    file = _file(_adapter(db, project_id, adapter_id), path)
    return StoredFile(file["sha256"], file["size_bytes"], _media_type(path))


def find_adapter_files(db: Engine, project_id: str, adapter_id: str) -> list[TarMember]:
    """All files of the adapter, to send as one archive. Raises AdapterDeleted for deleted weights."""
    adapter = _adapter(db, project_id, adapter_id)
    if adapter.deleted_at is not None:
        raise _gone(adapter)
    modified = int(adapter.created_at.timestamp())
    return [
        TarMember(entry["path"], entry["size_bytes"], modified, entry["sha256"])
        for entry in sorted(published_files(adapter), key=lambda entry: str(entry["path"]))
    ]


def _adapter(db: Engine, project_id: str, adapter_id: str) -> Adapter:
    with reading(db) as session:
        return get_adapter(session, project_id, adapter_id)[0]


def _file(adapter: Adapter, path: str) -> dict[str, Any]:
    """The recorded file of exactly this name: no path of the caller's ever reaches the storage."""
    if path in (WEIGHTS, HEAD) and adapter.deleted_at is not None:
        raise _gone(adapter)
    published = published_files(adapter)
    for entry in published:
        if entry["path"] == path:
            return dict(entry)
    names = ", ".join(sorted(str(entry["path"]) for entry in published))
    raise NotFound(f"The adapter has no file {path!r}, but {names}.")


def _gone(adapter: Adapter) -> AdapterDeleted:
    return AdapterDeleted(
        f"The weights of {adapter.id} were deleted. Its manifest.json names everything that makes them again."
    )


def _media_type(path: str) -> str:
    suffix = path[path.rfind(".") :]
    return MEDIA_TYPES.get(suffix, "application/octet-stream")


def _out(adapter: Adapter, job: Job) -> AdapterOut:
    files = [
        AdapterFileOut(**entry, url=f"/v1/adapters/{adapter.id}/files/{entry['path']}")
        for entry in published_files(adapter)
    ]
    return AdapterOut(
        id=adapter.id,
        created_at=adapter.created_at,
        job=adapter.job_id,
        iteration=adapter.iteration_number,
        role=adapter.role,
        model=job.model_id,
        files=files,
        training=adapter.training,
        verification=adapter.verification,
        pinned=adapter.pinned,
        deleted_at=adapter.deleted_at,
    )
