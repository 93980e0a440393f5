"""How one job spreads over workers, what the ledger costs, and whether projects get equal shares.

    python -m benchmarks.scale_out [--database sqlite] [--jobs 200]

The ledger is the real one (PostgreSQL, started for this run, or SQLite); a worker is a thread that claims,
waits as long as a GPU would take, and records. So the times are the ledger's own plus a known latency.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.database import transaction
from app.ledger.capacity import saw_worker
from app.ledger.steps import Claim, claim_step
from tests.databases import migrate
from tests.ledger.hands import do_step
from tests.ledger.test_dispatch import submit
from tests.postgres import start_postgres
from tests.worlds import TRAIN, World, make_world

LATENCY_SECONDS = 0.25  # per example
PROJECTS = 20


def wait_as_a_gpu(held: Claim) -> None:
    if "stop" in held.work:
        time.sleep(LATENCY_SECONDS * (held.work["stop"] - held.work["start"]))


def drain(world: World, workers: int, before: Callable[[Claim], None]) -> float:
    """Let this many workers do all that is queued; returns the seconds that it took."""
    names = [f"worker:{n}" for n in range(workers)]
    with transaction(world.engine) as session:
        for name in names:
            saw_worker(session, name)
    busy: set[str] = set()

    def work(name: str) -> None:
        while True:
            busy.add(name)
            held = claim_step(world.engine, name, 60)
            if held is None:
                busy.discard(name)
                if not busy:
                    return
                time.sleep(0.01)
                continue
            before(held)
            do_step(world, held)

    began = time.monotonic()
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


@contextmanager
def new_world(database: str, **settings: int) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        server = start_postgres() if database == "postgresql" else None
        url = server.url if server is not None else f"sqlite:///{home / 'star.db'}"
        migrate(url)
        world = make_world(url, home / "home", **settings)
        yield world
        world.engine.dispose()
        if server is not None:
            server.stop()


def speed_up(database: str) -> None:
    """One job on 1, 2 and 4 workers."""
    alone = 0.0
    for workers in (1, 2, 4):
        with new_world(database, shard_examples=TRAIN) as world:
            world.submit(iterations=2)
            seconds = drain(world, workers, wait_as_a_gpu)
        alone = alone or seconds
        print(f"{workers} workers: {seconds:6.1f} s, {alone / seconds:4.2f} times as fast")


def fairness(database: str, jobs: int) -> None:
    """Many queued jobs of 20 projects on 8 workers that take no time: throughput, and who is served."""
    with new_world(database) as world:
        for number in range(jobs):  # the first project queues half of all, before anybody else
            submit(world, f"project-{0 if number < jobs // 2 else number % PROJECTS}")
        served: list[str] = []
        seconds = drain(world, 8, lambda held: served.append(held.project_id))
    print(f"{jobs} jobs, {len(served)} steps in {seconds:.1f} s: {len(served) / seconds:.0f} steps a second")
    early = Counter(served[: len(served) // 10])
    print(f"of the first tenth of the steps, a project got {min(early.values())} to {max(early.values())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--jobs", type=int, default=200)
    arguments = parser.parse_args()
    speed_up(arguments.database)
    fairness(arguments.database, arguments.jobs)


if __name__ == "__main__":
    main()
