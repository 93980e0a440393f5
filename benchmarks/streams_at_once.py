"""A thousand event streams, opened at the same moment, and what the rest of the API does meanwhile.

    python -m benchmarks.streams_at_once [--database postgresql] [--streams 1000] [--rounds 3] [--apart]

writes docs/benchmarks/streams-at-once.md.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import time
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

from app.database import transaction
from app.ledger.events import append_event
from app.tables.jobs import Job
from benchmarks.http_api import ServedApi, database_version, percentile, served
from benchmarks.ledger_world import new_world
from benchmarks.measuring import machine, notes_beside, table
from benchmarks.pollers import Target
from tests.databases import PROJECT
from tests.factories import World

PAGE = PROJECT / "docs" / "benchmarks" / "streams-at-once.md"
GOAL_FIRST_MS, GOAL_OTHERS_MS = 2000.0, 100.0
WARM_UP = 2.0  # seconds of the first requests, which are not counted
SETTLING = 5.0  # seconds for which the others ask before the streams come, and after their first event
EVENTS = 20  # of the job, which a stream begins with
NEWS = 5  # events that are written while all streams are open, one a second
PATIENCE = 60.0


@dataclass
class Round:
    """Milliseconds."""

    first: list[float] = field(default_factory=list)  # from the moment all were told to open
    live: list[float] = field(default_factory=list)  # of events written while all are open, to each of them
    quiet: list[float] = field(default_factory=list)  # of the others' requests, without a stream
    during: list[float] = field(default_factory=list)  # while the streams are opened
    beside: list[float] = field(default_factory=list)  # while they are open and silent
    news: list[float] = field(default_factory=list)  # while each of them gets an event a second
    taken: tuple[float, float] = (
        0.0,
        0.0,
    )  # of a core while they open: API, the streams' clients
    load: float = 0.0


class Others:
    """Six clients in a process of their own, so that what the streams cost their clients is not counted."""

    def __init__(self, target: Target) -> None:
        processes = multiprocessing.get_context("spawn")
        self._answers, told = processes.Pipe(duplex=False)
        self._process = processes.Process(target=_ask_forever, args=(target, told), daemon=True)

    def __enter__(self) -> Others:
        self._process.start()
        assert self._answers.recv() is None  # its connections stand
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def between(self, *moments: float) -> list[list[float]]:
        """Milliseconds of the answers to what was asked between each moment and the next one."""
        found: list[list[float]] = [[] for _ in moments[1:]]
        while self._answers.poll():
            began, took = self._answers.recv()
            number = bisect(moments, began) - 1
            if 0 <= number < len(found):
                found[number].append(1000 * took)
        return found


def _ask_forever(target: Target, told: Connection) -> None:
    asyncio.run(_ask_all(target, told))


async def _ask_all(target: Target, told: Connection) -> None:
    paths = (f"/v1/jobs/{target.job}", "/v1/jobs", "/healthz")
    connections = [await asyncio.open_connection(target.host, target.port) for _ in range(6)]
    told.send(None)
    asked = [_ask(target, paths[number % 3], told, *one) for number, one in enumerate(connections)]
    await asyncio.gather(*asked)


async def _ask(
    target: Target, path: str, told: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        began = time.perf_counter()  # one clock for all processes of a machine
        writer.write(target.request(path))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.partition(b"\r\n")[0]
        size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(size.partition(b":")[2]))
        told.send((began, time.perf_counter() - began))
        await asyncio.sleep(0.1)


async def stream(target: Target, told: float, found: Round, all_there: asyncio.Event, expected: int) -> None:
    reader, writer = await asyncio.open_connection(target.host, target.port)
    writer.write(target.request(f"/v1/jobs/{target.job}/events/stream"))
    await _event(reader)
    found.first.append(1000 * (time.perf_counter() - told))
    if len(found.first) == expected:
        all_there.set()
    while (number := await _event(reader)) < EVENTS + NEWS:
        if number > EVENTS:
            found.live.append(1000 * (time.perf_counter() - _written[number]))
    found.live.append(1000 * (time.perf_counter() - _written[number]))
    writer.close()


_written: dict[int, float] = {}  # when an event's transaction began, by its number


async def _event(reader: asyncio.StreamReader) -> int:
    """Wait for the next event; its number."""
    while line := await reader.readline():
        if line.startswith(b"id: "):
            return int(line[4:])
    raise ConnectionError("the stream ended")


async def one_round(world: World, api: ServedApi, target: Target, streams: int) -> Round:
    found, all_there = Round(), asyncio.Event()
    with Others(target) as others:
        await asyncio.sleep(WARM_UP)
        began = time.perf_counter()
        await asyncio.sleep(SETTLING)
        told, spent = time.perf_counter(), (api.cpu_seconds(), time.process_time())
        open_ones = [
            asyncio.create_task(stream(target, told, found, all_there, streams)) for _ in range(streams)
        ]
        await asyncio.wait_for(all_there.wait(), PATIENCE)
        opened = time.perf_counter()
        found.taken = (
            (api.cpu_seconds() - spent[0]) / (opened - told),
            (time.process_time() - spent[1]) / (opened - told),
        )
        await asyncio.sleep(SETTLING)
        first_news = time.perf_counter()
        for number in range(EVENTS + 1, EVENTS + NEWS + 1):
            _written[number] = time.perf_counter()
            await asyncio.to_thread(write_event, world, target.job)
            await asyncio.sleep(max(0.0, 1 - (time.perf_counter() - _written[number])))
        moments = began, told, opened, first_news, time.perf_counter()
        found.quiet, found.during, found.beside, found.news = others.between(*moments)
        await asyncio.wait_for(asyncio.gather(*open_ones), PATIENCE)
    found.load = os.getloadavg()[0]
    return found


def write_event(world: World, job_id: str, count: int = 1) -> None:
    with transaction(world.engine) as session:
        job = session.get_one(Job, job_id)
        for _ in range(count):
            append_event(session, job, "job.priority_changed", {})


@contextmanager
def apart(api: ServedApi) -> Iterator[None]:
    """The API's threads on the first core, this process and those that it starts on the others."""
    all_of_them = os.sched_getaffinity(0)
    first, *others = sorted(all_of_them)
    for thread in api.process.threads():
        os.sched_setaffinity(thread.id, [first])
    os.sched_setaffinity(0, others)
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


def measure(database: str, streams: int, rounds: int, own_cores: bool) -> tuple[str, list[Round]]:
    found = []
    with new_world(database) as world:
        for _ in range(rounds):
            job_id = world.submit(iterations=1)
            write_event(world, job_id, EVENTS - world.job(job_id).events_written)
            with served(world) as api, apart(api) if own_cores else nullcontext():
                found.append(asyncio.run(one_round(world, api, _target(api, job_id), streams)))
        return database_version(world.engine), found


def _target(api: ServedApi, job_id: str) -> Target:
    place = urlsplit(api.url)
    assert place.hostname is not None
    assert place.port is not None
    return Target(place.hostname, place.port, api.key, job_id)


def report(version: str, found: Sequence[Round], options: str, notes: str) -> str:
    rows = [
        [
            str(number),
            f"{one.load:.1f}",
            _shown(one.first),
            _shown(one.live),
            *(_shown(times) for times in (one.quiet, one.during, one.beside, one.news)),
            " / ".join(f"{share:.0%}" for share in one.taken),
            _verdict(one),
        ]
        for number, one in enumerate(found, 1)
    ]
    head = [
        "round",
        "load",
        "first event",
        "a new event",
        "others, alone",
        "while they open",
        "beside them",
        "with an event a second",
        "cores taken",
        "goal",
    ]
    parts = ["# Streams opened at once", f"```sh\npython -m benchmarks.streams_at_once {options}\n```", ABOUT]
    parts += [f"{version}; " + "\n".join(machine("fastapi", "uvicorn", "sqlalchemy", "psycopg"))]
    return "\n\n".join([*parts, table(head, rows), notes]).rstrip() + "\n"


def _shown(times: Sequence[float]) -> str:
    return f"{percentile(times, 0.5):.0f} / {percentile(times, 0.99):.0f}"


def _verdict(one: Round) -> str:
    first, others = percentile(one.first, 0.99), percentile([*one.during, *one.beside, *one.news], 0.99)
    missed = [f"first event {first:.0f} ms"] if first > GOAL_FIRST_MS else []
    missed += [f"others {others:.0f} ms"] if others > GOAL_OTHERS_MS else []
    return f"missed: {', '.join(missed)}" if missed else "reached"


ABOUT = f"""Milliseconds: median / 99th percentile. All streams of one key are opened at one moment on one
API process, on a job with {EVENTS} events; `first event` is from that moment on, connecting included, and `a
new event` from before its transaction until each stream has it. The others are six connections of the same
key, in a process of their own, that ask for a job, the list of jobs and `/healthz`, one request every 100 ms
each: without a stream, while the streams are opened, while they are open and silent, and while an event a
second goes to each. Goals: the first event within {GOAL_FIRST_MS / 1000:.0f} s, the others' 99th percentile
from the opening on within {GOAL_OTHERS_MS:.0f} ms. Clients, API and database share the cores
unless `--apart` gives the API the first one and the clients the others; `cores taken` is what the API and the
clients of the streams took of one core while the streams were opened."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--apart", action="store_true", help="API and clients on cores of their own")
    parser.add_argument("--to", type=Path, default=PAGE)
    chosen = parser.parse_args()
    version, found = measure(chosen.database, chosen.streams, chosen.rounds, chosen.apart)
    options = f"--database {chosen.database} --streams {chosen.streams} --rounds {chosen.rounds}"
    options += " --apart" if chosen.apart else ""
    chosen.to.write_text(report(version, found, options, notes_beside(chosen.to)))
    print(chosen.to.read_text())


if __name__ == "__main__":
    main()
