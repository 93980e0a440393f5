"""Request bodies of bounded size, in bounded time, and files received without ever being held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from time import monotonic
from typing import BinaryIO, cast

import anyio
from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BadRequest, Invalid
from app.intake.uploaded_file import Received
from app.settings import Settings

JSON_BYTES = 1 << 20  # most of any body that is no upload
JSON_VALUES = 50_000  # and of the values in it: an object per value costs far more than its bytes
SPOOL_BYTES = 1 << 20  # of an upload, before it goes to disk
ENCODINGS = {"identity": "", "gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The size and time limits of one kind of body."""

    size: int  # bytes
    seconds: float  # from its first byte to its last
    values: int | None  # commas and opening brackets; None: it is no JSON


class BodyLimit:
    """ASGI middleware: 413 once a body has grown too long, whatever its Content-Length claimed, and 408 once
    its sender is too slow."""

    def __init__(self, app: ASGIApp, upload_paths: frozenset[str], settings: Settings) -> None:
        self.app, self.upload_paths, self.idle_seconds = app, upload_paths, settings.body_idle_seconds
        self.upload = Bounds(settings.max_upload_bytes, settings.upload_body_seconds, None)
        self.other = Bounds(JSON_BYTES, settings.body_seconds, JSON_VALUES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        bounds = self.upload if scope["path"] in self.upload_paths else self.other
        await self.app(scope, _bounded(receive, bounds, self.idle_seconds), send)


def _bounded(receive: Receive, bounds: Bounds, idle_seconds: float) -> Receive:
    """FastAPI lets an HTTPException through where it reads a body, and nothing else."""
    received, values, whole, ends = 0, 0, False, monotonic() + bounds.seconds

    async def bounded() -> Message:
        nonlocal received, values, whole
        if whole:  # what is awaited now is the end of the connection
            return await receive()
        try:
            with anyio.fail_after(max(0.0, min(idle_seconds, ends - monotonic()))):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "The body came too slowly. Send it again.") from None
        body = message.get("body", b"")
        received += len(body)
        whole = not message.get("more_body")
        if received > bounds.size:
            raise HTTPException(413, f"The body is longer than {bounds.size} bytes. Send it in parts.")
        if bounds.values is not None:
            values += sum(body.count(mark) for mark in (b",", b"[", b"{"))
            if values > bounds.values:
                raise HTTPException(
                    413, f"The body holds more than {bounds.values} values. Send it in parts."
                )
        return message

    return bounded


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
    received, form = await receive_fields(request, len(fields))
    if received is None:
        raise Invalid.for_field(
            "file",
            "There is no file in this field.",
            "Send the dataset in the field `file`.",
            detail="The form has no field `file` with a file in it.",
        )
    said = {name: value for name in fields if isinstance(value := form.get(name), str)}
    return received, said


async def receive_fields(request: Request, most: int) -> tuple[Received | None, FormData]:
    """The file in the field `file` of a multipart form, if there is one, and up to `most` other fields."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise BadRequest("The body must be a form: multipart/form-data, with the file in the field `file`.")
    parser = MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=most)
    try:
        form = await parser.parse()
    except MultiPartException as failure:
        raise BadRequest(f"Not multipart as it should be: {failure.message}") from failure
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        return None, form
    return Received(upload.file, upload.filename or "", upload.content_type or "", ""), form
