"""A server of the models that jobs start from and of the adapters that they make.

    python -m worker.serving

It says in the ledger where it is and what it holds; the API passes on to it what people ask. It works on no
step. On CPU it is nicer than a worker, so that jobs on the same machine come first; on a GPU give it one of
its own (CUDA_VISIBLE_DEVICES).
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import structlog
import uvicorn
from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from app.database import make_engine, transaction
from app.ledger.platform.servers import ANNOUNCE_SECONDS, announce_server, forget_server
from app.log import configure_logging
from app.settings import Settings
from app.storage import Storage
from worker.context import WorkerContext
from worker.serving.conversations import Conversations
from worker.serving.engine import Engine as GpuEngine
from worker.serving.exports import Exports
from worker.serving.http import create_app
from worker.serving.meter import Meter
from worker.serving.service import Engine, Service
from worker.serving.tools import Tools
from worker.serving.verifiers import Verifiers
from worker.serving.vllm_engine import VllmEngine

log = structlog.get_logger()

LOOK_SECONDS = 0.5  # how late the ledger may learn that another model is held


class Announcer:
    """Lets the ledger know that this server is there, and what it wrote, until it is stopped."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        engine: Engine,
        meter: Meter,
        tools: Tools,
        url: str,
        token: str,
    ) -> None:
        self.id = f"{socket.gethostname()}:{os.getpid()}"
        self._database, self._settings, self._engine, self._meter = database, settings, engine, meter
        self._tools, self._url, self._token = tools, url, token
        self._stopping = threading.Event()

    def run(self) -> None:
        said: tuple[str | None, str | None] | None = None
        left = 0.0
        while not self._stopping.is_set():
            now = self._engine.loaded, self._tools.sandbox
            if left <= 0 or now != said:
                said, left = now, ANNOUNCE_SECONDS
                self._say(*now)
            self._meter.record(self._database)
            self._stopping.wait(LOOK_SECONDS)
            left -= LOOK_SECONDS

    def stop(self) -> None:
        self._stopping.set()
        self._meter.record(self._database)
        try:
            with transaction(self._database) as session:
                forget_server(session, self.id)
        except SQLAlchemyError as error:
            log.warning("server_not_forgotten", error=type(error).__name__)

    def _say(self, loaded: str | None, sandbox: str | None) -> None:
        models = self._settings.serving_models
        try:
            with transaction(self._database) as session:
                announce_server(session, self.id, self._url, self._token, models, loaded, sandbox)
        except SQLAlchemyError as error:
            log.warning("server_not_announced", error=type(error).__name__)


def main() -> None:
    configure_logging()
    settings = Settings()
    os.nice(settings.serving_nice)
    database = make_engine(settings.resolved_database_url(), pool_size=2)
    context = _context(database, settings)
    engine = VllmEngine(context) if _by_vllm(settings) else GpuEngine(context)
    meter, tools, token = Meter(), Tools(settings), secrets.token_urlsafe(32)
    with socket.create_server((settings.serving_host, settings.serving_port)) as listening:
        url = settings.serving_url or f"http://{settings.serving_host}:{listening.getsockname()[1]}"
        announcer = Announcer(database, settings, engine, meter, tools, url, token)
        threads = [
            threading.Thread(target=_or_end, args=(part.run,), name=name)
            for name, part in (("engine", engine), ("announcer", announcer))
        ]
        for thread in threads:
            thread.start()
        threading.Thread(target=_or_end, args=(tools.probe,), name="sandbox", daemon=True).start()
        log.info("server_ready", url=url)
        conversations = Conversations(context)
        service = Service(engine, conversations, Verifiers(context, conversations), meter, tools, token)
        app = create_app(service, Exports(context, token).routes())
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            engine.stop()
            announcer.stop()
            tools.close()
            for thread in threads:
                thread.join()


def _by_vllm(settings: Settings) -> bool:
    return (settings.serving or settings.sampler) == "vllm"


def _context(database: Database, settings: Settings) -> WorkerContext:
    if settings.sampler == "vllm" and not _by_vllm(settings):
        settings = settings.model_copy(update={"sampler": "transformers", "sampler_options": {}})
    return WorkerContext(
        engine=database,
        storage=Storage(settings.resolved_storage_url()),
        settings=settings,
        worker_id=f"serving:{os.getpid()}",
        draining=lambda: False,
    )


def _or_end(work: Callable[[], None]) -> None:
    """A thread that fails takes the server with it: one that cannot answer must not say that it can."""
    try:
        work()
    except Exception:
        log.exception("server_failed")
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # before uvicorn listens, too
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again that it has obeyed
        main()
