"""Files received without ever being held in memory, by routes that have asked for the key before."""

from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.errors import BadRequest, Invalid
from app.intake.uploaded_file import Received

SPOOL_BYTES = 1 << 20  # of an upload, before it goes to disk
ENCODINGS = {"identity": "", "gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}


async def receive_file(request: Request) -> Received:
    """The request's body, or the file in its multipart field "file", on disk."""
    content_type = request.headers.get("content-type", "")
    encoding = _encoding(request)
    if content_type.startswith("multipart/form-data"):
        if encoding:
            raise Invalid.for_field(
                "Content-Encoding",
                "A form is not taken compressed.",
                "Compress the file in the form instead: rows.jsonl.gz.",
                code="content_encoding",
                detail="The form is compressed.",
            )
        return (await receive_form(request))[0]
    file = SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - the caller closes it
    try:
        async for chunk in request.stream():
            file.write(chunk)
    except BaseException:
        file.close()
        raise
    return Received(cast(BinaryIO, file), "", content_type, encoding)


def _encoding(request: Request) -> str:
    named = request.headers.get("content-encoding", "identity").strip().casefold()
    if named not in ENCODINGS:
        raise Invalid.for_field(
            "Content-Encoding",
            f"{named!r} is not taken.",
            "Use gzip or zstd, or none.",
            code="content_encoding",
            detail="The body is compressed in an unknown way.",
        )
    return ENCODINGS[named]


async def receive_form(request: Request, *fields: str) -> tuple[Received, dict[str, str]]:
    """The file in the field `file` of a multipart form, and what the form says in these other fields."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise BadRequest("The body must be a form: multipart/form-data, with the file in the field `file`.")
    parser = MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=len(fields))
    try:
        form = await parser.parse()
    except MultiPartException as failure:
        raise BadRequest(f"Not multipart as it should be: {failure.message}") from failure
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        raise Invalid.for_field(
            "file",
            "There is no file in this field.",
            "Send the dataset in the field `file`.",
            detail="The form has no field `file` with a file in it.",
        )
    said = {name: value for name in fields if isinstance(value := form.get(name), str)}
    return Received(upload.file, upload.filename or "", upload.content_type or "", ""), said
