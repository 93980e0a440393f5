"""What an upload of a million rows costs, in time and memory, and whether the API answers meanwhile.

    python -m benchmarks.upload [--rows 1000000] [--database postgresql]

The API runs in a process of its own, on a database of its own. Beside it stands what a user would do without
it: the same rows straight into the same table, unchecked, by executemany and (PostgreSQL) by COPY.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import psutil
from sqlalchemy import Engine, delete, insert

from app.database import make_engine, transaction
from app.ledger import staging
from app.ledger.keys import Scope, create_key, create_project
from app.models.data import Dataset, Example
from tests.databases import PROJECT, migrate, postgres_copy
from tests.postgres import start_postgres
from worker.valkey import free_port

CHUNK = 5000


def row(number: int) -> dict[str, Any]:
    """A word problem of 260 characters, the length of GSM8K's."""
    first, second = number % 9973, number % 997
    question = (
        f"In week {number} a bakery sells {first} loaves on Monday and {second} loaves on every other day, "
        "except on Sunday, when it is closed. Flour for a loaf costs half a dollar and is bought a week "
        f"ahead. How many loaves does it sell in the days from Monday to Tuesday of week {number}?"
    )
    return {"question": question, "answer": str(first + second), "group": str(number % 7)}


@dataclass
class Watch:
    """Samples the API's memory and how long it takes to answer, until told to stop."""

    process: psutil.Process
    client: httpx2.Client
    stop: threading.Event = field(default_factory=threading.Event)
    api_bytes: int = 0
    reader_bytes: int = 0
    answers: list[float] = field(default_factory=list)

    def run(self) -> None:
        while not self.stop.wait(0.1):
            self.api_bytes = max(self.api_bytes, self.process.memory_info().rss)
            for child in self.process.children():
                self.reader_bytes = max(self.reader_bytes, _rss(child))
            began = time.perf_counter()
            self.client.get("/v1/datasets").raise_for_status()
            self.answers.append(time.perf_counter() - began)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'star.db'}"
        migrate(url)
        yield url
        return
    server = start_postgres()
    try:
        with postgres_copy(server.url, "template1") as url:
            migrate(url)
            yield url
    finally:
        server.stop()


@contextmanager
def api(url: str, home: Path) -> Iterator[tuple[httpx2.Client, psutil.Process]]:
    engine = make_engine(url)
    with transaction(engine) as session:
        key = create_key(session, create_project(session, "bench"), "bench", Scope)
    engine.dispose()
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "app.main:create_app", "--port", str(port)]
    environment = {**os.environ, "STAR_DATABASE_URL": url, "STAR_HOME": str(home)}
    with (home / "api.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=log, stdout=log)
    headers = {"Authorization": f"Bearer {key}"}
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=3600) as client:
            _wait_for(client)
            yield client, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


def _wait_for(client: httpx2.Client) -> None:
    for _ in range(300):
        try:
            client.get("/v1/datasets").raise_for_status()
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the API did not start")


def upload(client: httpx2.Client, process: psutil.Process, path: Path) -> tuple[float, Watch]:
    with httpx2.Client(base_url=client.base_url, headers=client.headers, timeout=30) as second:
        watch = Watch(process, second)
        thread = threading.Thread(target=watch.run)
        thread.start()
        began = time.perf_counter()
        with path.open("rb") as file:
            answer = client.post("/v1/datasets?kind=numeric&validation=1000", content=file)
        seconds = time.perf_counter() - began
        watch.stop.set()
        thread.join()
    assert answer.status_code == 201, answer.text
    return seconds, watch


def raw(engine: Engine, rows: int, add: Callable[[Engine, Sequence[dict[str, Any]]], None]) -> float:
    """The same rows into the same table, unchecked, in transactions of the same size."""
    with transaction(engine) as session:
        project = create_project(session, f"raw-{add.__name__}").id
        dataset = Dataset(
            id=f"ds_{add.__name__}",
            project_id=project,
            name="raw",
            kind="numeric",
            sha256="0",
            size_bytes=0,
            splits={},
        )
        session.add(dataset)
    began = time.perf_counter()
    numbers = iter(range(rows))
    while chunk := [_columns(dataset.id, number) for number in islice(numbers, CHUNK)]:
        add(engine, chunk)
    seconds = time.perf_counter() - began
    with transaction(engine) as session:
        session.execute(delete(Example).where(Example.dataset_id == dataset.id))
    return seconds


def _columns(dataset_id: str, number: int) -> dict[str, Any]:
    rest = {"choices": None, "solution": None, "split": "train", "position": number}
    return {"dataset_id": dataset_id, "external_id": f"row-{number}", **row(number), **rest}


def executemany(engine: Engine, chunk: Sequence[dict[str, Any]]) -> None:
    with transaction(engine) as session:
        session.execute(insert(Example), chunk)


def copy(engine: Engine, chunk: Sequence[dict[str, Any]]) -> None:
    with transaction(engine) as session:
        staging.copy_examples(session, chunk)


def report(rows: int, size: int, seconds: float, watch: Watch, others: dict[str, float]) -> None:
    print("| way in | seconds | rows/s | times raw executemany |")
    print("| --- | --- | --- | --- |")
    unit = others["executemany"]
    for name, took in {"POST /v1/datasets": seconds, **others}.items():
        print(f"| {name} | {took:.0f} | {rows / took:,.0f} | {took / unit:.1f} |")
    answers = [1000 * seconds for seconds in sorted(watch.answers)]
    api_mib, reader_mib = watch.api_bytes >> 20, watch.reader_bytes >> 20
    print(
        f"\nThe file has {size / 1e6:.0f} MB. At the peak the API held {api_mib} MiB, its reader {reader_mib}"
    )
    print(f"MiB. {len(answers)} GETs meanwhile took {median(answers):.0f} ms (median),")
    print(f"{answers[int(0.99 * len(answers))]:.0f} ms (99th percentile), {answers[-1]:.0f} ms at most.\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, databases(chosen.database, Path(folder)) as url:
        path = Path(folder) / "rows.jsonl"
        with path.open("w") as file:
            file.writelines(json.dumps(row(number)) + "\n" for number in range(chosen.rows))
        with api(url, Path(folder)) as (client, process):
            seconds, watch = upload(client, process, path)
        engine = make_engine(url)
        ways = [executemany, copy] if chosen.database == "postgresql" else [executemany]
        others = {way.__name__: raw(engine, chosen.rows, way) for way in ways}
        engine.dispose()
        print(f"\n## {chosen.rows:,} rows, {chosen.database}, {os.cpu_count()} cores\n")
        report(chosen.rows, path.stat().st_size, seconds, watch, others)


if __name__ == "__main__":
    main()
