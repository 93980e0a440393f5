"""A fresh database and the API as a process of its own on it, for benchmarks over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil

from app.database import make_engine, transaction
from app.ledger.platform.keys import Scope, create_key, create_project
from tests.databases import PROJECT, migrate
from tests.postgres import start_postgres
from worker.valkey import free_port

READY_SECONDS = 600.0  # a busy machine takes long


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a migrated database: SQLite in this folder, or a PostgreSQL started for it, fsync off."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'star.db'}"
        migrate(url)
        yield url
        return
    server = start_postgres()
    try:
        migrate(server.url)
        yield server.url
    finally:
        server.stop()


@contextmanager
def served(url: str, home: Path, **settings: str) -> Iterator[tuple[httpx2.Client, psutil.Process]]:
    """The API and a client with a key for everything. `settings`: STAR_* variables by their names."""
    engine = make_engine(url)
    with transaction(engine) as session:
        key = create_key(session, create_project(session, "bench"), "bench", Scope)
    engine.dispose()
    headers = {"Authorization": f"Bearer {key}"}
    with (
        started(url, home, **settings) as (server, base_url),
        httpx2.Client(base_url=base_url, headers=headers, timeout=3600) as client,
    ):
        wait_for(client, "/v1/datasets")
        yield client, psutil.Process(server.pid)


@contextmanager
def started(url: str, home: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The API's process, which may not answer yet, and where it will."""
    port = free_port()
    command = [sys.executable, "-m", "app.server", "--port", str(port)]
    environment = {**os.environ, "STAR_DATABASE_URL": url, "STAR_HOME": str(home), **settings}
    with (home / "api.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=log, stdout=log)
    try:
        yield server, f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def wait_for(client: httpx2.Client, path: str) -> None:
    """Until this path is answered with 200."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        try:
            client.get(path).raise_for_status()
        except httpx2.TransportError:
            time.sleep(0.005)
        else:
            return
    raise RuntimeError("the API did not start")
