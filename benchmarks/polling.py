"""What pollers and streams cost the API, and what they cost the job that they watch.

    python -m benchmarks.polling [--database postgresql] [--rounds 3] [--seconds 6] [--device cpu]

writes docs/benchmarks/polling.md. A worker generates with the real 0.87 M model of examples/addition, through
the ledger, on the cores that API, database and pollers share. Windows with and without pollers take turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

from sqlalchemy import select

from app.database import make_engine, reading, transaction
from app.ledger.queue.capacity import saw_worker
from app.ledger.queue.steps import claim_step
from app.settings import Settings
from app.storage import Storage
from app.tables.data import Model
from app.tables.rationales import Rationale
from benchmarks.http_api import ServedApi, database_version, percentile, served
from benchmarks.ledger_world import new_world, with_examples
from benchmarks.measuring import interleaved, machine, median_and_range, table
from tests.databases import PROJECT
from tests.factories import MODEL, World
from worker.context import WorkerContext
from worker.shared_calls import work_on

PAGE = PROJECT / "docs" / "benchmarks" / "polling.md"
GOAL_MS, GOAL_LOSS = 100.0, 0.03
EXAMPLES = 40_000  # more than any run gets through
RECORDED = 8  # rationales per transaction: how finely the rate of tokens can be told
SETTLING_SECONDS = 6.0  # 200 streams that are opened at once take up to 5
WORKER = "worker:1"


@dataclass(frozen=True)
class Load:
    name: str
    pollers: int
    streams: int


LOADS = (
    Load("nobody", 0, 0),
    Load("50 pollers", 50, 0),
    Load("200 pollers", 200, 0),
    Load("200 streams", 0, 200),
    Load("200 pollers, 200 streams", 200, 200),
)


@dataclass
class Window:
    """What was seen while one load was on."""

    tokens_per_second: float
    api_cpu: float  # of one core
    clients_cpu: float
    seen: dict[str, Any] = field(default_factory=dict)


def work(database_url: str, home: Path, device: Literal["cpu", "cuda"]) -> None:
    """A worker, in a process of its own: every step that comes, until it is told to stop."""
    settings = Settings(
        home=home, database_url=database_url, sampler="transformers", device=device, record_batch=RECORDED
    )
    bench = WorkerContext(
        engine=make_engine(database_url),
        storage=Storage(settings.resolved_storage_url()),
        settings=settings,
        worker_id=WORKER,
        draining=lambda: False,
    )
    try:
        while (claim := claim_step(bench.engine, WORKER, 60, bench.warm_model)) is not None:
            work_on(bench, claim)
    finally:
        bench.drop_gpu()


@contextmanager
def working(world: World, device: str) -> Iterator[str]:
    """A job under way, with its own worker; yields its id once tokens come."""
    with transaction(world.engine) as session:
        session.get_one(Model, MODEL).location = str(PROJECT / "examples" / "carry" / "model")
        session.get_one(Model, MODEL).context_length = 1024
        saw_worker(session, WORKER)
    job_id = world.submit(
        iterations=1,
        generation={"max_tokens": 100},
        evaluation={"baselines": ()},
        audits={"spark_level": None},
    )
    url, home = world.settings.resolved_database_url(), world.settings.home
    command = [sys.executable, "-m", "benchmarks.polling", "--work", url, "--home", str(home)]
    command += ["--device", device]
    process = subprocess.Popen(command, cwd=PROJECT)
    try:
        deadline = time.monotonic() + 120
        while not recorded(world, 0.0):
            assert process.poll() is None, "the worker has ended"
            assert time.monotonic() < deadline, "no token within two minutes"
            time.sleep(0.2)
        yield job_id
    finally:
        process.terminate()
        process.wait()


def recorded(world: World, since: float) -> list[tuple[float, int]]:
    """When (seconds since 1970) each rationale after that moment was recorded, and its tokens, in order."""
    query = select(Rationale.created_at, Rationale.tokens).order_by(Rationale.id)
    with reading(world.engine) as session:
        rows = [(moment.timestamp(), tokens) for moment, tokens in session.execute(query)]
    return [row for row in rows if row[0] > since]


def rate(rows: list[tuple[float, int]]) -> float:
    """Tokens a second from the first recorded batch to the last: the first only starts the clock."""
    began, ended = rows[0][0], rows[-1][0]
    return sum(tokens for moment, tokens in rows if moment > began + 0.02) / (ended - began)


def window(world: World, api: ServedApi, job_id: str, load: Load, seconds: float) -> Window:
    """One load for so many seconds, once its clients have settled."""
    command = [sys.executable, "-m", "benchmarks.pollers", api.url, api.key, job_id]
    command += ["--pollers", str(load.pollers), "--streams", str(load.streams)]
    command += ["--seconds", str(seconds), "--settling", str(SETTLING_SECONDS)]
    clients = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE)
    time.sleep(SETTLING_SECONDS)
    began, cpu = time.time(), api.cpu_seconds()
    time.sleep(seconds)
    spent = api.cpu_seconds() - cpu
    rows = recorded(world, began)
    printed, _ = clients.communicate()
    assert clients.returncode == 0
    seen = json.loads(printed)
    return Window(rate(rows), spent / seconds, seen.pop("cpu") / (seconds + SETTLING_SECONDS), seen)


def measure(database: str, device: str, rounds: int, seconds: float) -> tuple[str, dict[str, list[Window]]]:
    windows: dict[str, list[Window]] = {load.name: [] for load in LOADS}
    with new_world(database, shard_examples=EXAMPLES) as small:
        world = with_examples(small, EXAMPLES, 8)
        with served(world) as api, working(world, device) as job_id:

            def run(load: Load) -> float:
                windows[load.name].append(window(world, api, job_id, load, seconds))
                return windows[load.name][-1].tokens_per_second

            interleaved({load.name: partial(run, load) for load in LOADS}, rounds)
        return database_version(world.engine), windows


def report(version: str, windows: dict[str, list[Window]], options: str) -> str:
    usual = [one.tokens_per_second for one in windows[LOADS[0].name]]
    head = [
        "beside the job",
        "p50 ms",
        "p99 ms",
        "settling ms",
        "304s",
        "events",
        "API",
        "clients",
        "tokens/s",
        "loss",
        "goal",
    ]
    rows: list[list[object]] = []
    for load in LOADS:
        found = windows[load.name]
        times = [1000 * second for one in found for second in one.seen["seconds"]]
        settling = [1000 * second for one in found for second in one.seen["settling"]]
        statuses = [one.seen["statuses"] for one in found]
        answers = sum(sum(one.values()) for one in statuses)
        losses = [1 - one.tokens_per_second / alone for one, alone in zip(found, usual, strict=True)]
        slowest = percentile(times, 0.99) if times else 0.0
        assert all(not one.seen["broken"] for one in found), "a stream missed an event or got one twice"
        rows.append(
            [
                load.name,
                f"{percentile(times, 0.5):.1f}" if times else "",
                f"{slowest:.1f}" if times else "",
                f"{percentile(settling, 0.99):.1f}" if settling else "",
                f"{sum(one.get('304', 0) for one in statuses) / answers:.0%}" if answers else "",
                sum(one.seen["events"] for one in found) or "",
                f"{median(one.api_cpu for one in found):.0%}",
                f"{median(one.clients_cpu for one in found):.0%}",
                median_and_range([one.tokens_per_second for one in found]),
                _range(losses) if load.pollers + load.streams else "",
                _verdict(load, slowest, median(losses)),
            ]
        )
    parts = ["# Polling", f"```sh\npython -m benchmarks.polling {options}\n```", INTRODUCTION]
    parts += [f"{version}; " + "\n".join(machine("fastapi", "uvicorn", "sqlalchemy", "psycopg"))]
    return "\n\n".join([*parts, table(head, rows)]) + "\n"


def _range(losses: list[float]) -> str:
    return f"{median(losses):.0%} ({min(losses):.0%} to {max(losses):.0%})"


def _verdict(load: Load, slowest: float, loss: float) -> str:
    if not load.pollers + load.streams:
        return ""
    missed = [f"p99 > {GOAL_MS:.0f} ms"] if slowest > GOAL_MS else []
    missed += [f"loss > {GOAL_LOSS:.0%}"] if loss > GOAL_LOSS else []
    return f"missed: {', '.join(missed)}" if missed else "reached"


INTRODUCTION = f"""Every poller asks for the same running job once a second with the ETag of its last
answer; every stream is an open `events/stream`. `settling ms` is the 99th percentile of the first
{SETTLING_SECONDS:g} s, within which all clients come: pollers in one second without an ETag, streams at once.
One API process, one worker that generates with one thread (what the service chooses for so small a
model), the database and the clients (one asyncio process on plain sockets) share the cores; `API` and
`clients` are the shares of one core that the two took. Times are from the moment at which a request was
due until its answer was read. `tokens/s` is what the ledger recorded: median of the rounds and range;
`loss` is the median of what a round's window lost against the same round's window without anybody.
Goals: p99 of at most {GOAL_MS:.0f} ms and a loss of at most {GOAL_LOSS:.0%}."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the worker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--to", type=Path, default=PAGE)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work is not None:
        work(chosen.work, chosen.home, chosen.device)
        return
    options = f"--database {chosen.database} --rounds {chosen.rounds} --seconds {chosen.seconds:g}"
    options += f" --device {chosen.device}" if chosen.device != "cpu" else ""
    version, windows = measure(chosen.database, chosen.device, chosen.rounds, chosen.seconds)
    chosen.to.write_text(report(version, windows, options))


if __name__ == "__main__":
    main()
