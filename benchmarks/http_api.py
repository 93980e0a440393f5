"""What benchmarks of the HTTP API share: the API as a process of its own over a world, and percentiles."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import psutil
from sqlalchemy import Engine

from app.database import reading, transaction
from app.ledger.platform.keys import Scope, create_key
from app.tables.platform import Project
from tests.databases import PROJECT
from tests.factories import World
from worker.valkey import free_port

READY_SECONDS = 60


@dataclass(frozen=True)
class ServedApi:
    url: str
    key: str
    client: httpx2.Client
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Processor time of the API so far, of threads that have ended too; to 10 ms."""
        spent = self.process.cpu_times()
        return float(spent.user + spent.system)


@contextmanager
def served(world: World) -> Iterator[ServedApi]:
    """The API of this world's project, with one process, as operators start it, and a key that may do all."""
    with transaction(world.engine) as session:
        project = session.get_one(Project, world.project_id)
        key = create_key(session, project, "benchmark", Scope)
    port, home = free_port(), world.settings.home
    command = [sys.executable, "-m", "app.server", "--port", str(port)]
    environment = {
        **os.environ,
        "STAR_DATABASE_URL": world.settings.resolved_database_url(),
        "STAR_STORAGE_URL": world.settings.resolved_storage_url(),
        "STAR_HOME": str(home),
        "STAR_RATE_LIMIT": "1000000/minute",
    }
    with (home / "api.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=log, stdout=log)
    headers = {"Authorization": f"Bearer {key}"}
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx2.Client(base_url=url, headers=headers, timeout=60) as client:
            _wait_for(client)
            yield ServedApi(url, key, client, psutil.Process(server.pid))
    finally:
        server.terminate()
        server.wait()


def _wait_for(client: httpx2.Client) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            client.get("/readyz").raise_for_status()
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the API did not start")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def database_version(engine: Engine) -> str:
    with reading(engine) as session:
        dialect = engine.dialect.name
        asked = "SHOW server_version" if dialect == "postgresql" else "SELECT sqlite_version()"
        return f"{dialect} {session.connection().exec_driver_sql(asked).scalar_one()}"
