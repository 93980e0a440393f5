"""Has texts that people ask for written by vLLM's own OpenAI server, which runs as a child of this process.

vLLM batches them. On a GPU adapters of one base model share its batch, each loaded when it is first asked
for and known by the sha256 of its files; on CPU one adapter at a time is merged into the weights, and takes
turns with others as in worker/serving/engine.py. A server that dies is started again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import structlog

from app.database import reading
from app.ledger.results.adapters import adapter_by_id
from app.tables.data import Model
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from star_engine.adapters.layout import CONFIG, WEIGHTS
from star_engine.gpu.vllm_server import LOADED, ServerSettings
from star_engine.writing import Piece, WriteRequest
from worker.context import WorkerContext
from worker.serving.engine import MAX_RANK, NOT_READY
from worker.serving.loaded_adapters import LoadedAdapters
from worker.serving.vllm_child import ChildEnded, VllmChild
from worker.serving.waiting import BROKEN, UNREADY, Target, Ticket, Waiting

log = structlog.get_logger()

LOOK_SECONDS = 0.5  # how late it is noticed that an idle server has died
StartChild = Callable[[ServerSettings, Path, str], VllmChild]


@dataclass(frozen=True, slots=True)
class _Asked:
    """An adapter that is asked. `name`: what its weights and settings hash to; "": the base model."""

    name: str = ""
    rank: int = 0
    adapter: Adapter | None = None


def _start(settings: ServerSettings, log_file: Path, bos: str) -> VllmChild:
    return VllmChild(settings, log_file, bos=bos)


class VllmEngine:
    def __init__(self, context: WorkerContext, start: StartChild = _start) -> None:
        self._context, self._start = context, start
        self._waiting = Waiting(context.settings.serving_queue)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._stopping = False
        self._child: VllmChild | None = None
        self._model_id: str | None = None  # that the child serves
        self._merged = ""  # on CPU: the name of the adapter in its weights
        self._loaded: LoadedAdapters | None = None  # on a GPU
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by key of a text

    @property
    def loaded(self) -> str | None:
        """The base model that is held now."""
        return self._model_id

    def submit(self, ticket: Ticket) -> None:
        """Raises Full where the queue has no room for its texts, or for more of its project."""
        self._waiting.add(ticket)
        self._wake()

    def drop(self, ticket: Ticket) -> None:
        """Nobody waits for it any more."""
        for key in self._waiting.drop(ticket):
            self._call(self._cancel, key)

    def stop(self) -> None:
        self._stopping = True
        self._wake()

    def run(self) -> None:
        """Serve until told to stop."""
        asyncio.run(self._run())

    def _wake(self) -> None:
        self._call(self._changed.set)

    def _call(self, work: Callable[..., object], *arguments: object) -> None:
        """Run it in the engine's thread, which it has from `run` on."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended: this engine stops
                self._loop.call_soon_threadsafe(work, *arguments)

    def _cancel(self, key: str) -> None:
        if (task := self._tasks.get(key)) is not None:
            task.cancel()  # its connection closes, and vLLM leaves the text

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        idle_since = time.monotonic()
        try:
            while not self._stopping:
                if (target := self._waiting.next_target()) is not None:
                    await self._serve(target)
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > self._context.settings.serving_idle_seconds:
                    await self._close()
                    idle_since = time.monotonic()
                else:
                    await self._rest()
        finally:
            self._waiting.fail(BROKEN)
            for task in self._tasks.values():
                task.cancel()
            await self._close()

    async def _rest(self) -> None:
        """Wait for somebody, and see to it that the server that is there stays there."""
        if self._child is not None and not self._child.alive and self._model_id is not None:
            log.error("model_process_ended", model=self._model_id)
            await self._again(self._model_id, self._child.settings.lora_rank)
        await self._next_change(LOOK_SECONDS)

    async def _again(self, model_id: str, rank: int) -> None:
        try:
            await self._ready(model_id, rank)
        except (ChildEnded, *NOT_READY) as problem:  # whoever asks next tries again
            log.error("model_not_ready", model=model_id, error=str(problem))
            await self._close()

    async def _next_change(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        self._changed.clear()

    async def _serve(self, target: Target) -> None:
        """Have texts written for this target, and for those that may share its batch, until none is left."""
        alike = target.__eq__ if self._merges else partial(_same_model, target)
        if (child := await self._prepare(target)) is None:
            return
        while not self._stopping and child.alive:
            for ticket in self._waiting.begin(alike, self._context.room):
                for request in ticket.requests:
                    self._begin(request.key, child, ticket.target, request)
            if not self._tasks:
                return
            await self._next_change(LOOK_SECONDS)
        if self._tasks and not self._stopping:  # each tells its own end; what waits gets the next server
            await asyncio.wait(self._tasks.values())

    @property
    def _merges(self) -> bool:
        return self._context.settings.device == "cpu"

    async def _prepare(self, target: Target) -> VllmChild | None:
        """The server of a target, on CPU with its adapter; None: it cannot be had, which has been said."""
        try:
            asked = self._asked(target)
            child = await self._ready(target.model_id, asked.rank)
            if self._merges and asked.name != self._merged:
                await child.merge(None if asked.adapter is None else await self._fetch(asked.adapter))
                self._merged = asked.name
        except ChildEnded as problem:
            self._say_unready(target, problem)
            await self._close()
        except NOT_READY as problem:
            self._say_unready(target, problem)
        else:
            return child
        return None

    def _say_unready(self, target: Target, problem: Exception) -> None:
        log.warning("model_not_ready", model=target.model_id, adapter=target.adapter_id, error=str(problem))
        self._waiting.fail(UNREADY, target.__eq__)

    def _asked(self, target: Target) -> _Asked:
        if target.adapter_id is None:
            return _Asked()
        with reading(self._context.engine) as session:
            adapter = adapter_by_id(session, target.adapter_id)
            rank = session.get_one(Job, adapter.job_id).config.training.lora.rank
            return _Asked(_name(adapter), rank, adapter)

    async def _fetch(self, adapter: Adapter) -> Path:
        """The folder of its files on this machine. For one adapter at a time."""
        return await asyncio.to_thread(self._context.unpack, adapter)

    async def _ready(self, model_id: str, rank: int) -> VllmChild:
        """A server of this base model. Raises ChildEnded, or what its files are refused with."""
        child = self._child
        serves = child is not None and child.alive and self._model_id == model_id
        if child is not None and serves and (self._merges or rank <= child.settings.lora_rank):
            return child
        await self._close()
        context = self._context
        with reading(context.engine) as session:
            model = session.get_one(Model, model_id)
        folder = await asyncio.to_thread(context.base_models.find, model)
        settings = _settings_of(context, model, folder, max(rank, MAX_RANK))
        child = self._child = self._start(settings, context.folder / "serving-vllm.log", _bos(folder))
        log.info("model_process_started", model=model_id, pid=child.pid)
        await self._until_ready(child)
        self._model_id, self._loaded = model_id, LoadedAdapters(child, LOADED)
        return child

    async def _until_ready(self, child: VllmChild) -> None:
        waiting = asyncio.ensure_future(child.ready())
        while not waiting.done() and not self._stopping:
            await asyncio.wait({waiting}, timeout=LOOK_SECONDS)
        if self._stopping:
            waiting.cancel()
            raise ChildEnded("This server stops.")
        await waiting

    def _begin(self, key: str, child: VllmChild, target: Target, request: WriteRequest) -> None:
        task = self._tasks[key] = asyncio.ensure_future(self._write(child, target, request))

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (problem := task.exception()) is not None:
                log.error("text_failed", model=target.model_id, exc_info=problem)
                self._pass_on(Piece(key, error=UNREADY))  # or whoever waits for it would wait for ever
            del self._tasks[key]
            self._changed.set()

        task.add_done_callback(ended)

    async def _write(self, child: VllmChild, target: Target, request: WriteRequest) -> None:
        try:
            async with self._held(target) as name:
                async for piece in child.write(request, name):
                    self._pass_on(piece)
        except ChildEnded as problem:
            log.error("text_lost", model=target.model_id, error=str(problem))
            self._pass_on(Piece(request.key, error=BROKEN))
        except NOT_READY as problem:
            log.warning("adapter_not_ready", adapter=target.adapter_id, error=str(problem))
            self._pass_on(Piece(request.key, error=UNREADY))

    @asynccontextmanager
    async def _held(self, target: Target) -> AsyncIterator[str | None]:
        """By which name vLLM is asked; None: the base model, with what is merged into it."""
        asked = _Asked() if self._merges else self._asked(target)
        if asked.adapter is None or self._loaded is None:
            yield None
            return
        async with self._loaded.hold(asked.name, partial(self._fetch, asked.adapter)):
            yield asked.name

    def _pass_on(self, piece: Piece) -> None:
        ticket = self._waiting.ticket_of(piece)
        if ticket is not None:
            ticket.say(piece)

    async def _close(self) -> None:
        child, self._child, self._model_id = self._child, None, None
        self._merged, self._loaded = "", None
        if child is not None:
            await child.close()


def _same_model(target: Target, other: Target) -> bool:
    return other.model_id == target.model_id


def _settings_of(context: WorkerContext, model: Model, folder: Path, rank: int) -> ServerSettings:
    own = context.settings
    options = dict(own.sampler_options) if own.sampler == "vllm" else {}
    if model.gpus > 1:
        options.setdefault("tensor_parallel_size", model.gpus)
    return ServerSettings(
        model=str(folder),
        socket="",
        device=own.device,
        max_length=model.context_length,
        threads=own.threads,
        lora_rank=rank,
        options=options,
    )


def _name(adapter: Adapter) -> str:
    """What decides how an adapter acts, hashed: two with the same files are one to vLLM."""
    hashes = [entry["sha256"] for entry in adapter.files if entry["path"] in (CONFIG, WEIGHTS)]
    return sha256(" ".join(sorted(hashes)).encode()).hexdigest()


def _bos(folder: Path) -> str:
    """The text of a model's BOS, which a prompt that begins with it has already."""
    with suppress(OSError, ValueError):
        told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("bos_token")
        found = told.get("content") if isinstance(told, dict) else told
        return found if isinstance(found, str) else ""
    return ""
