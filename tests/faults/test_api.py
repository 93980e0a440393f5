"""The API dies or fails before and after the commit that makes a job: asked again, it makes no second one."""

from __future__ import annotations

import urllib.error
import urllib.request
from contextlib import suppress
from http.client import RemoteDisconnected
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.database import reading
from app.tables.jobs import IdempotencyKey, Job, Outbox, Step
from tests.app.api_harness import Api, serve
from tests.factories import World
from tests.faults.boundaries import Action
from tests.faults.checker import check
from tests.platforms import Platform, platform, wait_until
from worker.valkey import free_port

NO_BROKER = "redis://127.0.0.1:1/0"  # the API never asks it


@pytest.mark.parametrize("action", ["kill", "raise"])
@pytest.mark.parametrize(
    "database", ["sqlite_database_url", pytest.param("postgresql_database_url", marks=pytest.mark.long)]
)
def test_an_api_that_breaks_around_the_commit_leaves_one_job_for_one_key(
    database: str, action: Action, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with serve(request.getfixturevalue(database), tmp_path / "home") as api:
        world = World(api.engine, api.settings, "", "", "", "")
        body, port = api.job_body(), free_port()
        with platform(world, NO_BROKER) as running:
            for number, point in enumerate(("job.before_commit", "job.after_commit")):
                start(running, port, f"api-{number}", STAR_FAILPOINTS=f"{point}={action}")
                with pytest.raises((RemoteDisconnected, urllib.error.HTTPError)) as broken:
                    post(api, port, body)
                if action == "raise":
                    assert "500" in str(broken.value)
                    running.stop(f"api-{number}")
                else:
                    assert running.parts.pop(f"api-{number}").wait(timeout=60) == 128 + 9
                assert rows(world, Job, IdempotencyKey) == [number, number], "all of it or nothing"
            start(running, port, "api-2")
            status, headers, made = post(api, port, body)
        assert (status, headers["Idempotent-Replayed"]) == (201, "true")
        with reading(world.engine) as session:
            assert session.scalars(select(Job.id)).all() == [made["id"]]
        assert rows(world, Step, Outbox)[0] == rows(world, Step, Outbox)[1] > 0
        check(world, at_rest=False)


def test_an_api_that_is_told_to_stop_ends_its_streams_first(sqlite_database_url: str, tmp_path: Path) -> None:
    """The server waits for open requests without a limit here, and the job never ends: only the API can."""
    with serve(sqlite_database_url, tmp_path / "home") as api:
        world = World(api.engine, api.settings, "", "", "", "")
        job, port = api.job(), free_port()
        with platform(world, NO_BROKER) as running:
            start(running, port, "api")
            url = f"http://127.0.0.1:{port}/v1/jobs/{job['id']}/events/stream"
            asked = urllib.request.Request(
                url, headers={"Authorization": api.client.headers["Authorization"]}
            )
            with urllib.request.urlopen(asked, timeout=60) as stream:  # noqa: S310 - our own http URL
                assert stream.readline() == b"event: job.created\n"
                assert running.stop("api") == 128 + 15  # by its own signal: nobody had to kill it
                assert b"event: done" not in stream.read()


def start(running: Platform, port: int, name: str, **variables: str) -> None:
    running.api(name, port, **variables)

    def ready() -> bool:
        with suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
            return True
        return False

    wait_until(ready, f"{name} answers")


def post(api: Api, port: int, body: dict[str, Any]) -> tuple[int, Any, dict[str, Any]]:
    """The same job under the same key, whatever became of it before."""
    headers = {
        "Authorization": api.client.headers["Authorization"],
        "Content-Type": "application/json",
        "Idempotency-Key": "one job",
    }
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/v1/jobs", dumps(body).encode(), headers)
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310 - our own http URL
        return answer.status, answer.headers, loads(answer.read())


def rows(world: World, *tables: Any) -> list[int]:
    with reading(world.engine) as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]
