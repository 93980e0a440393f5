"""Request bodies of bounded size, and files received without ever being held in memory."""

from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BadRequest, FieldError, Invalid

JSON_BYTES = 8 << 20  # most of any body that is no upload
SPOOL_BYTES = 1 << 20  # of an upload, before it goes to disk


class BodyLimit:
    """ASGI middleware: 413 once a body has grown too long, whatever its Content-Length claimed."""

    def __init__(self, app: ASGIApp, upload_path: str, upload_bytes: int) -> None:
        self.app, self.upload_path, self.upload_bytes = app, upload_path, upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.upload_bytes if scope["path"] == self.upload_path else JSON_BYTES
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


async def receive_file(request: Request) -> BinaryIO:
    """The request's body, or the file in its multipart field "file", on disk and rewound."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Invalid("Compressed bodies are not taken. Send the file as it is.", code="content_encoding")
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await _multipart_file(request)
    file = SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - the caller closes it
    try:
        async for chunk in request.stream():
            file.write(chunk)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return cast(BinaryIO, file)


async def _multipart_file(request: Request) -> BinaryIO:
    try:
        form = await MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=0).parse()
    except MultiPartException as failure:
        raise BadRequest(f"Not multipart as it should be: {failure.message}") from failure
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        error = FieldError("file", "There is no file in this field.", "Send the dataset in the field `file`.")
        raise Invalid("The form has no field `file` with a file in it.", errors=(error,))
    return upload.file
