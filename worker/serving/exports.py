"""Merged models on their way to who asked for them: each is written by a process of its own while it is sent.

Nothing of them is kept: a merged model is as large as its base model, and made again in the time that it
takes to send it. The process holds one weight at a time, and ends with the connection.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.database import reading
from app.errors import NotFound
from app.ledger.results.adapters import adapter_by_id
from app.storage import MissingArtifact
from app.tables.data import Model
from star_engine.adapters.layout import CONFIG, WEIGHTS
from worker.base_models import BadModel
from worker.context import WorkerContext

log = structlog.get_logger()

MAX_EXPORTS = 2  # at once: each reads a whole base model from the disk
CHUNK_BYTES = 1 << 20
FORMS = ("safetensors", "gguf")
MEDIA = {"safetensors": "application/x-tar", "gguf": "application/octet-stream"}
UNREADY = "The model or the adapter cannot be read here: the operator's log says why."


class Exports:
    def __init__(self, context: WorkerContext, token: str) -> None:
        self._context, self._token = context, token
        self._running = 0

    def routes(self) -> list[Route]:
        return [Route("/v1/exports/{form}", self.send, methods=["GET"])]

    async def send(self, request: Request) -> Response:
        """The merged model as it is made, with its length; or why it is not."""
        if not secrets.compare_digest(request.headers.get("authorization", ""), f"Bearer {self._token}"):
            return _refused(401, "wrong_token", "This server answers the API only.")
        form = request.path_params["form"]
        if form not in FORMS:
            return _refused(404, "unknown_form", f"A merged model is written as {' or '.join(FORMS)}.")
        if self._running >= MAX_EXPORTS:
            return _refused(503, "exports_busy", "Other merged models are being sent. Try again in a moment.")
        model, adapter = (request.headers.get(name, "") for name in ("x-star-model", "x-star-adapter"))
        self._running += 1
        made = _Export(self._context.folder / "exports", self._release)
        try:
            answer = await self._begin(made, form, model, adapter)
        except (BadModel, NotFound, MissingArtifact, SQLAlchemyError, OSError) as problem:
            log.warning("export_not_ready", model=model, adapter=adapter, error=str(problem))
            answer = _refused(503, "model_unavailable", UNREADY)
        except BaseException:
            await made.end()
            raise
        if not isinstance(answer, _Sent):
            await made.end()
        return answer

    def _release(self) -> None:
        self._running -= 1

    async def _begin(self, made: _Export, form: str, model: str, adapter: str) -> Response:
        base = await run_in_threadpool(self._fetch, model, adapter, made.folder)
        command = ["-m", "star_engine.gpu.export", form, "--base", str(base), "--adapter", str(made.folder)]
        told = await made.start([sys.executable, *command, "--name", adapter], self._environment())
        if "refused" in told:
            return _refused(422, "cannot_export", str(told["refused"]))
        if "size_bytes" not in told:
            log.error("export_failed", model=model, adapter=adapter)
            return _refused(503, "export_failed", UNREADY)
        headers = {
            "Content-Length": str(told["size_bytes"]),
            "Content-Disposition": f'attachment; filename="{told["name"]}"',
        }
        return _Sent(made, int(told["size_bytes"]), media_type=MEDIA[form], headers=headers)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STAR_")}
        return kept | {"OMP_NUM_THREADS": str(self._context.settings.threads)}

    def _fetch(self, model_id: str, adapter_id: str, folder: Path) -> Path:
        """The base model's folder, checked; the adapter's two files lie in `folder` then."""
        with reading(self._context.engine) as session:
            model, adapter = session.get_one(Model, model_id), adapter_by_id(session, adapter_id)
            if model.trained_as is not None:  # adapters are merged into plain weights
                model = session.get_one(Model, model.trained_as)
        files = {entry["path"]: entry["sha256"] for entry in adapter.files}
        for name in (CONFIG, WEIGHTS):
            self._context.storage.fetch(files[name], folder / name)
        return self._context.base_models.find(model)


class _Export:
    """One merged model: the folder that its adapter lies in, and the process that writes it."""

    def __init__(self, scratch: Path, release: Callable[[], None]) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._temporary = TemporaryDirectory(dir=scratch, prefix="export-")
        self._process: Process | None = None
        self._release = release

    @property
    def folder(self) -> Path:
        return Path(self._temporary.name)

    async def start(self, command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
        """What the process says of what it will write."""
        self._process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, env=environment)
        return _told(await self._out.readline())

    @property
    def _out(self) -> asyncio.StreamReader:
        if self._process is None or self._process.stdout is None:
            raise RuntimeError("nothing was started")
        return self._process.stdout

    async def content(self, size: int) -> AsyncIterator[bytes]:
        """Raises where the process ends short of `size` bytes: the connection is then cut."""
        sent = 0
        while chunk := await self._out.read(CHUNK_BYTES):
            sent += len(chunk)
            yield chunk
        if sent != size:
            log.error("export_cut", sent=sent, size=size)
            raise ConnectionAbortedError("the process that writes it has ended")

    async def end(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._temporary.cleanup()
        self._release()


class _Sent(StreamingResponse):
    """Ends what it sends, whether or not the first byte was ever asked for."""

    def __init__(self, made: _Export, size: int, **options: Any) -> None:
        super().__init__(made.content(size), **options)
        self._made = made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await asyncio.shield(self._made.end())


def _told(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:  # it ended without a word
        return {}
    return found if isinstance(found, dict) else {}


def _refused(status: int, code: str, message: str) -> Response:
    return JSONResponse({"code": code, "message": message}, status)
