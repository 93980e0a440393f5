"""What an upload costs, in time and memory, and whether the API answers meanwhile; on both databases.

    python -m benchmarks.upload [--rows 200000] [--rounds 3] [--out docs/benchmarks/upload.md]

The API runs in a process of its own, on a database of its own. Beside it stands what a user would do without
it: the same rows straight into the same table, unchecked, by executemany (SQLite) or COPY (PostgreSQL), ready
in memory as the clock starts.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import psutil
import psycopg
from sqlalchemy import Engine, delete

from app.database import make_engine, new_id, transaction
from app.intake.formats import Format
from app.intake.unpack import unpacked
from app.intake.uploaded_file import HowToRead, checked_file
from app.ledger.data.staging import store_dataset
from app.ledger.platform.keys import create_project
from app.settings import Settings
from app.tables.data import Dataset, Example
from benchmarks.measuring import interleaved, machine, median_and_range, table
from benchmarks.served import database, served
from star_engine.tasks.kind import Kind

OUT = Path("docs/benchmarks/upload.md")
POLL_SECONDS = 0.1  # between two GETs while an upload runs
ROWS_A_SECOND, RATIO, P99_MS = 20_000, 0.30, 100  # the goals
STAGES = ("hash and copy", "verify, carve and write as lines", "store, and count beside it")
COLUMNS = "dataset_id, split, position, external_id, question, answer"


def row(number: int) -> dict[str, Any]:
    """A word problem of 260 characters, the length of GSM8K's."""
    first, second = number % 9973, number % 997
    question = (
        f"In week {number} a bakery sells {first} loaves on Monday and {second} loaves on every other day, "
        "except on Sunday, when it is closed. Flour for a loaf costs half a dollar and is bought a week "
        f"ahead. How many loaves does it sell in the days from Monday to Tuesday of week {number}?"
    )
    return {"question": question, "answer": str(first + second)}


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
        while not self.stop.wait(POLL_SECONDS):
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


def upload(client: httpx2.Client, watch: Watch, path: Path, seed: int) -> float:
    """Seconds from the first byte to the answer. The seed makes it a dataset of its own."""
    thread = threading.Thread(target=watch.run)
    thread.start()
    began = time.perf_counter()
    with path.open("rb") as file:
        answer = client.post(f"/v1/datasets?kind=numeric&validation=1000&seed={seed}", content=file)
    seconds = time.perf_counter() - began
    watch.stop.set()
    thread.join()
    assert answer.status_code == 201, answer.text
    return seconds


def raw(engine: Engine, rows: Sequence[tuple[Any, ...]]) -> float:
    """The same rows into the same table, unchecked, in one transaction, by the driver alone."""
    dataset_id = new_id("ds")
    with transaction(engine) as session:
        project = create_project(session, new_id("raw")).id
        session.add(
            Dataset(
                id=dataset_id,
                project_id=project,
                name="raw",
                kind="numeric",
                sha256="0",
                size_bytes=0,
                splits={},
            )
        )
    own = [(dataset_id, *values) for values in rows]
    url = engine.url
    began = time.perf_counter()
    if engine.dialect.name == "sqlite":
        _executemany(str(url.database), own)
    else:
        _copy(url.render_as_string(hide_password=False), own)
    seconds = time.perf_counter() - began
    with transaction(engine) as session:
        session.execute(delete(Example).where(Example.dataset_id == dataset_id))
    return seconds


def _executemany(path: str, rows: Sequence[tuple[Any, ...]]) -> None:
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        connection.execute("PRAGMA synchronous=FULL")  # as durable as what it stands beside
        connection.execute("PRAGMA foreign_keys=ON")
        connection.executemany(f"INSERT INTO examples ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)  # noqa: S608


def _copy(url: str, rows: Sequence[tuple[Any, ...]]) -> None:
    with (
        psycopg.connect(url.replace("+psycopg", "")) as connection,
        connection.cursor().copy(f"COPY examples ({COLUMNS}) FROM STDIN") as copy,
    ):
        for values in rows:
            copy.write_row(values)


def stages(engine: Engine, path: Path) -> dict[str, float]:
    """Seconds of one more upload, by what is done; here the API receives nothing."""
    with transaction(engine) as session:
        project = create_project(session, new_id("stages")).id
    moments = [time.perf_counter()]
    how = HowToRead(Kind.NUMERIC, 1000, 0)
    with path.open("rb") as file, unpacked(file, "", 1 << 40) as plain:
        moments.append(time.perf_counter())
        with checked_file(plain, Format.JSONL, how, Settings()) as checked:
            moments.append(time.perf_counter())
            store_dataset(engine, project, "stages", checked)
            moments.append(time.perf_counter())
    return {
        name: after - before for name, before, after in zip(STAGES, moments[:-1], moments[1:], strict=True)
    }


@dataclass
class Raced:
    """What was measured on one database."""

    dialect: str
    server: str
    uploads: list[float]
    raws: list[float]
    watches: list[Watch]
    stages: dict[str, float]


def race(kind: str, folder: Path, path: Path, rows: int, rounds: int) -> Raced:
    ready = [("train", n, f"row-{n}", *row(n).values()) for n in range(rows)]
    watches: list[Watch] = []
    with database(kind, folder) as url, served(url, folder) as (client, process):
        engine = make_engine(url)
        with httpx2.Client(base_url=client.base_url, headers=client.headers, timeout=30) as second:

            def one() -> float:
                watches.append(Watch(process, second))
                return upload(client, watches[-1], path, len(watches))

            runs: dict[str, Callable[[], float]] = {"upload": one, "raw": lambda: raw(engine, ready)}
            found = interleaved(runs, rounds)
        took = stages(engine, path)
        with engine.connect() as connection:
            asked = "SHOW server_version" if kind == "postgresql" else "SELECT sqlite_version()"
            server = f"{kind} {connection.exec_driver_sql(asked).scalar_one()}"
        engine.dispose()
    return Raced(kind, server, found["upload"], found["raw"], watches, took)


def lines(raced: Raced, rows: int) -> Iterator[str]:
    way = "COPY" if raced.dialect == "postgresql" else "executemany"
    yield f"## {raced.server}\n"
    measured = {"POST /v1/datasets": raced.uploads, f"raw {way}": raced.raws}
    body = [
        (name, median_and_range(seconds), median_and_range([rows / took for took in seconds]))
        for name, seconds in measured.items()
    ]
    yield table(("way in", "seconds", "rows/s"), body) + "\n"
    answers = sorted(1000 * seconds for watch in raced.watches for seconds in watch.answers)
    p99 = answers[int(0.99 * len(answers))]
    speed, ratio = rows / median(raced.uploads), median(raced.raws) / median(raced.uploads)
    goals = [
        ("rows/s", f">= {ROWS_A_SECOND:,}", f"{speed:,.0f}", _reached(speed >= ROWS_A_SECOND)),
        (f"of raw {way}", f">= {RATIO:.2f}", f"{ratio:.2f}", _reached(ratio >= RATIO)),
        ("a GET meanwhile, p99", f"<= {P99_MS} ms", f"{p99:.0f} ms", _reached(p99 <= P99_MS)),
    ]
    yield table(("goal", "", "measured", ""), goals) + "\n"
    api = max(watch.api_bytes for watch in raced.watches) >> 20
    reader = max(watch.reader_bytes for watch in raced.watches) >> 20
    took = ", ".join(f"{name} {1e6 * seconds / rows:.0f} us" for name, seconds in raced.stages.items())
    yield f"One more, by what is done for a row: {took}.\n"
    if speed < ROWS_A_SECOND or ratio < RATIO:
        yield (
            "Missed because a raw row is only inserted, which takes "
            f"{1e6 * median(raced.raws) / rows:.0f} us, and an uploaded one is verified first.\n"
        )
    if p99 > P99_MS:
        yield "GETs share the cores with the processes that verify, and with the database.\n"
    yield (
        f"{len(answers)} GETs, ten a second, took {median(answers):.0f} ms (median), {answers[-1]:.0f} ms at "
        f"most. At the peak the API\nheld {api} MiB, its reader {reader} MiB.\n"
    )


def _reached(yes: bool) -> str:
    return "reached" if yes else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    kinds = chosen.database or ["sqlite", "postgresql"]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rows.jsonl"
        with path.open("w") as file:
            file.writelines(json.dumps(row(number)) + "\n" for number in range(chosen.rows))
        size = path.stat().st_size
        raced = [race(kind, Path(name), path, chosen.rows, chosen.rounds) for kind in kinds]
    given = f"--rows {chosen.rows} --rounds {chosen.rounds}"
    about = (
        f"A JSONL file of {size / 1e6:.0f} MB, 1,000 rows of it carved as held-out split, {chosen.rounds} "
        "times; the raw insert takes turns with it.\nIt is given the rows ready in memory, for the same "
        "table with the same indexes and keys, in one transaction.\nMedians, with the least and the most.\n"
    )
    page = [
        f"# Uploading {chosen.rows:,} rows\n\n```sh\npython -m benchmarks.upload {given}\n```\n",
        "\n".join(machine("sqlalchemy", "psycopg", "uvicorn")) + "\n",
        about,
        *(line for one in raced for line in lines(one, chosen.rows)),
    ]
    chosen.out.write_text("\n".join(page).rstrip() + "\n")
    print(chosen.out.read_text())


if __name__ == "__main__":
    main()
