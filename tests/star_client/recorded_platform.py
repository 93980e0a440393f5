"""The real application on a real port, a worker with a scripted model, and a wire that fails when asked."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from sqlalchemy import Engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.database import make_engine, transaction
from app.ledger.platform.keys import Scope as KeyScope
from app.ledger.platform.keys import create_key, create_project
from app.ledger.queue.steps import claim_step
from app.main import create_app
from app.settings import Settings
from app.storage import Storage
from star_client.client import StarClient
from tests.app.api_harness import MODEL, addition_rows, few_shot, make_model
from tests.factories import SCRIPT
from worker.context import WorkerContext
from worker.shared_calls import work_on


@dataclass
class Fault:
    """What happens to the next `times` requests to a path that ends so."""

    path_end: str
    times: int = 1
    status: int | None = None  # answered in place of the application, or
    cut_after: int | None = (
        None  # bytes of the body after which the connection breaks (0: the answer is lost), or
    )
    flip: bool = False  # the first byte of the body is another one


@dataclass
class Wire:
    """Stands between the server and the application; `requests` is what came in."""

    app: ASGIApp
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)  # of the same
    statuses: Counter[int] = field(default_factory=Counter)  # of what was answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append((scope["method"], scope["path"], headers))
        self.queries.append(scope["query_string"].decode())
        fault = next((one for one in self.faults if one.times and scope["path"].endswith(one.path_end)), None)
        if fault is None:
            return await self.app(scope, receive, counted(send, self.statuses))
        fault.times -= 1
        if fault.status is None:
            return await self.app(scope, receive, broken(send, fault))
        await send(
            {"type": "http.response.start", "status": fault.status, "headers": [(b"retry-after", b"0")]}
        )
        return await send({"type": "http.response.body", "body": b"a proxy's page"})

    def sent(self, method: str, path_end: str) -> list[dict[str, str]]:
        """Headers of the requests like this."""
        return [found[2] for found in self.requests if found[0] == method and found[1].endswith(path_end)]


def counted(send: Send, statuses: Counter[int]) -> Send:
    async def counting(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses[message["status"]] += 1
        await send(message)

    return counting


def broken(send: Send, fault: Fault) -> Send:
    passed = 0

    async def failing(message: Message) -> None:
        nonlocal passed
        if message["type"] == "http.response.body":
            body = message.get("body", b"")
            if fault.flip and passed == 0 and body:
                message = {**message, "body": bytes([body[0] ^ 1]) + body[1:]}
            if fault.cut_after is not None and passed + len(body) > fault.cut_after:
                await send({**message, "body": body[: fault.cut_after - passed], "more_body": True})
                raise ConnectionAbortedError("on purpose")
            passed += len(body)
        await send(message)

    return failing


@dataclass
class Platform:
    url: str
    key: str
    reader_key: str
    wire: Wire
    engine: Engine
    settings: Settings
    server: uvicorn.Server
    stopping: threading.Event = field(default_factory=threading.Event)

    def client(self, key: str | None = None) -> StarClient:
        """A client that does not wait between attempts."""
        return StarClient(self.url, key or self.key, pause=lambda _seconds: None)

    def submit(self, folder: Path, **changes: Any) -> str:
        """Upload, and create a job of two iterations; returns its id."""
        file = folder / "addition.jsonl"
        file.write_text(addition_rows(24))
        config = {
            "iterations": 2,
            "generation": {"max_tokens": 100},
            "training": {"schedule": {"kind": "linear", "start": 3, "add": 1}, "batch_size": 4},
            "evaluation": {"test_time": {"samples": 2}},
            **changes,
        }
        with self.client() as star:
            dataset = star.datasets.upload(file, kind="scratchpad", validation=8)
            prompt_set = star.prompt_sets.create(name="few-shot", kind="scratchpad", examples=few_shot())
            job = star.jobs.create(
                model=MODEL, dataset=dataset.id, prompt_set=prompt_set.id, config=config, name="addition"
            )
        return job.id

    def work(self) -> None:
        """Do all steps that there are, as a worker does."""
        bench = WorkerContext(
            engine=self.engine,
            storage=Storage(self.settings.resolved_storage_url()),
            settings=self.settings,
            worker_id="worker:1",
            draining=self.stopping.is_set,
        )
        try:
            while (claim := claim_step(bench.engine, bench.worker_id, 60, bench.warm_model)) is not None:
                work_on(bench, claim)
        finally:
            bench.drop_gpu()

    def stop(self) -> None:
        """No longer answer, nor accept connections."""
        self.server.should_exit = True
        wait_until(lambda: not self.server.started or not self.server.servers[0].sockets, "it goes on")

    @contextmanager
    def attending(self) -> Iterator[None]:
        """A worker that goes on looking for steps, beside what the test does."""
        done = threading.Event()

        def attend() -> None:
            while not done.wait(0.1):
                self.work()

        worker = threading.Thread(target=attend)
        worker.start()
        try:
            yield
        finally:
            done.set()
            worker.join()

    @contextmanager
    def working(self) -> Iterator[None]:
        """As `work`, beside what the test does."""
        worker = threading.Thread(target=self.work)
        worker.start()
        try:
            yield
        finally:
            self.stopping.set()
            worker.join()


@contextmanager
def platform(
    database_url: str, home: Path, models_file: Path | None = None, script: str = SCRIPT, **more: Any
) -> Iterator[Platform]:
    """`more`: settings in place of those of the tests."""
    if models_file is None:
        make_model(home / "model")
        models_file = home / "models.yaml"
        models_file.write_text(yaml.safe_dump([{"id": MODEL, "location": "model", "license": "apache-2.0"}]))
    given: dict[str, Any] = {
        "home": home,
        "database_url": database_url,
        "models_file": models_file,
        "sampler": "scripted",
        "sampler_script": script,
        "shard_examples": 6,
        "webhook_secret": "of this platform alone",
        "rate_limit": "1000000/minute",  # schemathesis sends thousands with one key, from one address
        "project_rate_limit": "1000000/minute",
        "wrong_key_limit": "1000000/minute",
    }
    settings = Settings(**given | more)
    engine = make_engine(database_url)
    with transaction(engine) as session:
        owner = create_project(session, "owner")
        key = create_key(session, owner, "admin", KeyScope)
        reader = create_key(session, owner, "reader", [KeyScope.READ])
    wire = Wire(create_app(settings))
    with serving(wire) as server:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Platform(f"http://127.0.0.1:{port}", key, reader, wire, engine, settings, server)
    engine.dispose()


@contextmanager
def serving(app: ASGIApp) -> Iterator[uvicorn.Server]:
    config = uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=1, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive(), "it does not start")
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join()


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
