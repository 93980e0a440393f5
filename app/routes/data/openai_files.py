"""Files, as the OpenAI client uploads them: they become a dataset when a fine-tuning job names them."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel
from sqlalchemy import Engine

from app.database import reading, transaction
from app.errors import Invalid
from app.http.auth import Reader, Submitter
from app.http.dependencies import Artifacts, Db
from app.http.idempotency import Once, UploadedOnce, made_once
from app.http.router import api_router
from app.http.schemas import After, Item, Limit, Page, page
from app.http.uploads import receive_form
from app.intake.uploaded_file import Received
from app.ledger.data.files import area_of, delete_file, get_file, list_files, record_file
from app.ledger.platform.quotas import check_dataset
from app.storage import Storage
from app.tables.files import File

router = api_router("openai", "/v1/files")

Purpose = Literal["fine-tune"]


class FileOut(Item):
    object: Literal["file"] = "file"
    bytes: int
    created_at: int  # seconds since 1970
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"


class FileDeleted(BaseModel):
    object: Literal["file"] = "file"
    id: str
    deleted: Literal[True] = True


_FORM = {
    "type": "object",
    "title": "FileIn",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary", "title": "File"},
        "purpose": {"type": "string", "const": "fine-tune", "title": "Purpose"},
    },
}
_UPLOAD = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}


@router.post("", summary="Upload a file, as the OpenAI client does", openapi_extra=_UPLOAD)
async def upload(
    caller: Submitter, db: Db, storage: Artifacts, once: UploadedOnce, request: Request, response: Response
) -> FileOut:
    """Upload a file. Its rows are validated when a job names it, since the prompt set determines the kind of
    answers.

    The form is read here, not by a parameter: FastAPI would have it on disk before it asks for the key.
    """
    received, said = await receive_form(request, "purpose")
    with received.file:
        if said.get("purpose") not in get_args(Purpose):
            raise Invalid.for_field(
                "purpose", "Input should be 'fine-tune'.", "Send the purpose of the file."
            )
        once = await run_in_threadpool(once.of_file, received.file)
        return await run_in_threadpool(
            made_once,
            db,
            once,
            response,
            lambda: _store(db, storage, caller.project_id, received, said["purpose"], once),
            lambda file_id: get(caller, db, file_id),
        )


def _store(
    db: Engine, storage: Storage, project_id: str, received: Received, purpose: str, once: Once
) -> FileOut:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        with path.open("wb") as copy:
            shutil.copyfileobj(received.file, copy)
        size = path.stat().st_size
        with reading(db) as session:  # before its bytes are stored; counted again with the row
            check_dataset(session, project_id, size)
        sha = storage.area(area_of(project_id)).put_file(path)
    with transaction(db) as session:
        file = record_file(session, project_id, received.name or "file", purpose, sha, size)
        once.remember(session, file.id)
        return _out(file)


@router.get("", summary="List files, newest first")
def list_(
    caller: Reader, db: Db, purpose: Purpose | None = None, limit: Limit = 20, after: After = None
) -> Page[FileOut]:
    with reading(db) as session:
        found = list_files(session, caller.project_id, purpose=purpose, after=after, limit=limit + 1)
        return page([_out(file) for file in found], limit)


@router.get("/{file_id}", summary="Get a file's name and size")
def get(caller: Reader, db: Db, file_id: str) -> FileOut:
    with reading(db) as session:
        return _out(get_file(session, caller.project_id, file_id))


@router.get("/{file_id}/content", summary="Download a file", response_class=StreamingResponse)
def content(caller: Reader, db: Db, storage: Artifacts, file_id: str) -> Response:
    with reading(db) as session:
        file = get_file(session, caller.project_id, file_id)
    area = storage.area(file.area)
    if (link := area.link(file.sha256, file.filename)) is not None:
        return RedirectResponse(link, status_code=307, headers={"Cache-Control": "no-store"})
    return StreamingResponse(
        area.open_range(file.sha256, 0, file.size_bytes),
        media_type="application/octet-stream",
        headers={"Content-Length": str(file.size_bytes), "X-Content-Type-Options": "nosniff"},
    )


@router.delete("/{file_id}", summary="Delete a file; what was made from it stays")
def delete(caller: Submitter, db: Db, file_id: str) -> FileDeleted:
    with transaction(db) as session:
        file = get_file(session, caller.project_id, file_id)
        delete_file(session, file)
    return FileDeleted(id=file_id)


def _out(file: File) -> FileOut:
    return FileOut(
        id=file.id,
        bytes=file.size_bytes,
        created_at=int(file.created_at.timestamp()),
        filename=file.filename,
        purpose=file.purpose,
    )
