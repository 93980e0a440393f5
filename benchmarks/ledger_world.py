"""What benchmarks of the ledger share: a fresh database, a dataset of any size, threads as workers."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from app.database import new_id, reading, transaction
from app.ledger.queue.capacity import saw_worker
from app.ledger.queue.steps import Claim, claim_step
from app.tables.data import Dataset, Example
from tests.app.ledger.ledger_driver import do_step
from tests.databases import migrate
from tests.factories import World, make_world
from tests.postgres import start_postgres

LEASE_SECONDS = 600.0  # no benchmark lasts as long: nothing is ever reaped


@contextmanager
def new_world(database: str, **settings: Any) -> Iterator[World]:
    """A migrated database of its own: PostgreSQL, started for it, or SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        server = start_postgres() if database == "postgresql" else None
        url = server.url if server is not None else f"sqlite:///{home / 'star.db'}"
        try:
            migrate(url)
            world = make_world(url, home / "home", **settings)
            yield world
            world.engine.dispose()
        finally:
            if server is not None:
                server.stop()


def with_examples(world: World, train: int, held_out: int) -> World:
    """The same world with a dataset of so many examples."""
    dataset_id = new_id("ds")
    with transaction(world.engine) as session:
        small = session.get_one(Dataset, world.dataset_id)
        splits = {"train": train, "validation": held_out}
        session.add(
            Dataset(
                id=dataset_id,
                project_id=small.project_id,
                name="large",
                kind=small.kind,
                sha256="1" * 64,
                size_bytes=0,
                splits=splits,
            )
        )
        session.flush()
        session.execute(
            insert(Example),
            [
                {
                    "dataset_id": dataset_id,
                    "split": split,
                    "position": position,
                    "external_id": f"{split}-{position}",
                    "question": f"{position} + 1",
                    "answer": str(position + 1),
                    "group": "1",
                }
                for split, count in splits.items()
                for position in range(count)
            ],
        )
    return replace(world, dataset_id=dataset_id)


def drain(world: World, workers: int, gpu: Callable[[Claim], None]) -> float:
    """Let this many workers do all that is queued: claim, `gpu`, record; returns the seconds that it took."""
    names = [f"worker:{n}" for n in range(workers)]
    with transaction(world.engine) as session:
        for name in names:
            saw_worker(session, name)
    busy: set[str] = set()

    def work(name: str) -> None:
        while True:
            busy.add(name)
            held = claim_step(world.engine, name, LEASE_SECONDS)
            if held is None:
                busy.discard(name)
                if not busy:
                    return
                time.sleep(0.02)
                continue
            gpu(held)
            do_step(world, held)

    began = time.monotonic()
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def cpu_seconds(world: World) -> float:
    """Processor time so far of this process and of the database's for it (schedstat: nanoseconds).

    On a machine that other people use it says what a quiet one would take; the clock on the wall does not.
    """
    own = time.process_time()
    if world.engine.dialect.name != "postgresql":
        return own
    with reading(world.engine) as session:
        pids = session.connection().exec_driver_sql(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
        )
        spent = [int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids.scalars()]
    return own + sum(spent) / 1e9


def about(world: World) -> str:
    """Versions and machine, as a line of Markdown."""
    with reading(world.engine) as session:
        dialect = world.engine.dialect.name
        asked = "SHOW server_version" if dialect == "postgresql" else "SELECT sqlite_version()"
        server = session.connection().exec_driver_sql(asked).scalar_one()
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("sqlalchemy", "psycopg"))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}"
    return f"{dialect} {server}, {packages}, Python {platform.python_version()}; {machine}"
