"""Files as answers: resumable, as an archive, or written while they are sent."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fastapi import Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from app.errors import Problem
from app.http.problems import problem_response
from app.http.ranges import ByteRange, Unsatisfiable, matches, requested_range
from app.http.tar import TarMember, tar_chunks, tar_size
from app.storage import Storage


class ExportFormat(StrEnum):
    JSONL = "jsonl"
    PARQUET = "parquet"


class RangeNotSatisfiable(Problem):
    status, code, title = 416, "range_not_satisfiable", "Range not satisfiable"


@dataclass(frozen=True, slots=True)
class StoredFile:
    sha256: str
    size_bytes: int
    media_type: str


def send_file(request: Request, storage: Storage, file: StoredFile, name: str) -> Response:
    """A file of the storage, or the one Range of it that was asked for. The ETag is its SHA-256.

    Where the storage gives links, 307 to one: S3 answers the same Range there, and has browsers save it
    under `name`.
    """
    sha, size = file.sha256, file.size_bytes
    etag = f'"sha256-{sha}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(sha)).decode()}:",
        "X-Content-Type-Options": "nosniff",
    }
    if matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    if (link := storage.link(sha, name)) is not None:
        return RedirectResponse(link, status_code=307, headers={"Cache-Control": "no-store"})
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
        media_type=file.media_type,
        headers=headers,
    )


def send_archive(storage: Storage, name: str, members: Sequence[TarMember]) -> StreamingResponse:
    """Files of the storage as one .tar. Raises before the first byte where one of them is missing."""
    for member in members:
        storage.size(member.sha256)
    return StreamingResponse(
        tar_chunks(members, storage),
        media_type="application/x-tar",
        headers={
            "Content-Length": str(tar_size(members)),
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


def send_export(content: Iterator[bytes], media_type: str, name: str) -> StreamingResponse:
    """A file to save. What is in it is people's: no browser may guess what it is."""
    return StreamingResponse(
        content,
        media_type=media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )
