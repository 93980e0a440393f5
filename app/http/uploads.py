"""Request bodies of bounded size, and files received without ever being held in memory."""

from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BadRequest, Invalid
from app.intake.uploaded_file import Received

JSON_BYTES = 8 << 20  # most of any body that is no upload
SPOOL_BYTES = 1 << 20  # of an upload, before it goes to disk
ENCODINGS = {"identity": "", "gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}


class BodyLimit:
    """ASGI middleware: 413 once a body has grown too long, whatever its Content-Length claimed."""

    def __init__(self, app: ASGIApp, upload_paths: frozenset[str], upload_bytes: int) -> None:
        self.app, self.upload_paths, self.upload_bytes = app, upload_paths, upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.upload_bytes if scope["path"] in self.upload_paths else JSON_BYTES
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # FastAPI lets an HTTPException through where it reads a body, and nothing else.
                raise HTTPException(413, f"The body is longer than {limit} bytes. Send it in parts.")
            return message

        await self.app(scope, counted, send)


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
        return await _multipart_file(request)
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


async def _multipart_file(request: Request) -> Received:
    try:
        form = await MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=0).parse()
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
    return Received(upload.file, upload.filename or "", upload.content_type or "", "")
