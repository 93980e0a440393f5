"""What a client has given up is stopped, whatever route works on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import pytest
from sqlalchemy import Engine, select

from app.database import reading, transaction
from app.given_up import ClientGone, client_gone
from app.intake.child import Limits, reader
from app.intake.formats import Format
from app.intake.reading import Reading
from app.ledger.data.examples import each_example
from app.tables.data import Dataset
from star_engine.tasks.kind import Kind
from tests.app.api_harness import Api, addition_rows


def busy(engine: Engine, begun: Event, ended: Event) -> Callable[..., None]:
    """Work that reads the database again and again, and never ends by itself."""

    def work(*_: Any, **__: Any) -> None:
        begun.set()
        try:
            while True:
                with reading(engine) as session:
                    session.execute(select(Dataset.id).limit(1))
        except ClientGone:
            ended.set()
            raise

    return work


async def ask_and_leave(
    app: Any, method: str, path: str, body: bytes, key: str, begun: Event
) -> list[dict[str, Any]]:
    """Send a whole request and close the connection once it is worked on; returns what the app sent."""
    parts, sent = [{"type": "http.request", "body": body, "more_body": False}], []
    path, _, query = path.partition("?")

    async def receive() -> dict[str, Any]:
        if parts:
            return parts.pop()
        await anyio.to_thread.run_sync(begun.wait)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"authorization", key.encode()), (b"content-type", b"application/json")]
    headers += [(b"content-length", str(len(body)).encode())] if body else []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
    with anyio.fail_after(30):
        await app(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    ("method", "path", "work"),
    [
        ("POST", "/v1/jobs", "app.routes.jobs.jobs.try_family"),
        ("POST", "/v1/jobs/job_1/regrade", "app.routes.jobs.job_verbs.regrade_job"),
        ("POST", "/v1/datasets?kind=numeric", "app.data.datasets.upload_dataset"),
        ("GET", "/v1/jobs/job_1/report", "app.routes.results.report.read_job_report"),
        ("GET", "/v1/datasets/ds_1/statistics", "app.routes.data.dataset_statistics.read_statistics"),
    ],
)
def test_work_ends_when_its_client_has_closed_the_connection(
    sqlite_api: Api, monkeypatch: pytest.MonkeyPatch, method: str, path: str, work: str
) -> None:
    begun, ended = Event(), Event()
    monkeypatch.setattr(work, busy(sqlite_api.engine, begun, ended))
    bodies = {"/v1/jobs": {"model": "m", "dataset": "d", "prompt_set": "p", "dry_run": True}}
    body = json.dumps(bodies.get(path, {})).encode() if method == "POST" else b""
    client, key = sqlite_api.client, sqlite_api.client.headers["authorization"]
    assert client.portal is not None
    sent = client.portal.call(ask_and_leave, client.app, method, path, body, key, begun)
    assert ended.is_set()
    assert sent[0]["status"] == 499


def test_what_is_written_is_not_given_up_halfway(sqlite_api: Api) -> None:
    gone = Event()
    gone.set()
    token = client_gone.set(gone)
    try:
        with pytest.raises(ClientGone), reading(sqlite_api.engine) as session:
            session.execute(select(Dataset.id))
        with transaction(sqlite_api.engine) as session:
            assert session.scalars(select(Dataset.id)).all() == []
    finally:
        client_gone.reset(token)


def test_rows_of_a_dataset_are_read_on_for_nobody(sqlite_api: Api) -> None:
    dataset = sqlite_api.dataset(addition_rows(1500))
    gone = Event()
    token = client_gone.set(gone)
    try:
        with reading(sqlite_api.engine) as session:
            rows = each_example(session, dataset["id"], ["train"])
            next(rows)
            gone.set()
            with pytest.raises(ClientGone):
                list(rows)
    finally:
        client_gone.reset(token)


def test_child_that_reads_an_upload_ends_with_its_client(tmp_path: Path) -> None:
    """Its answers take minutes: what nests like this is given up at the time limit of each."""
    gone = Event()
    gone.set()
    token = client_gone.set(gone)
    slow = json.dumps({"question": "?", "answer": "9^{9^{9^{9}}}"})
    (tmp_path / "rows").write_text(f"{slow}\n" * 4)
    how = Reading(Format.JSONL, Kind.MATH, 0, 0, (), 1 << 20, 1000, 10)
    try:
        with (
            (tmp_path / "rows").open("rb") as file,
            (tmp_path / "out").open("w+b") as out,
            pytest.raises(ClientGone),
            reader(file, how, out, Limits(1 << 30, 1 << 30, 600)) as child,
        ):
            child.wait_for_rows()
    finally:
        client_gone.reset(token)
