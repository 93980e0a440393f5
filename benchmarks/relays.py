"""How many notifications a second 1, 2 and 4 schedulers send, and how many of them twice.

    python -m benchmarks.relays [--notifications 5000] > FILE.md

Each scheduler is a process of its own that relays and pauses as worker/scheduler.py does, on one PostgreSQL
and one Valkey, started for this run. What the broker holds in the end is counted.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import redis
from sqlalchemy import Engine, func, select

from app.database import make_engine, reading, transaction
from app.ledger.queue.capacity import DEFAULT_QUEUE
from app.ledger.queue.outbox import notify, relay
from app.tables.jobs import Outbox, Step
from benchmarks.ledger_world import about, new_world
from tests.factories import World
from worker.valkey import start_valkey

SCHEDULERS = (1, 2, 4)
QUEUE = f"star:{DEFAULT_QUEUE}"  # with the prefix of worker/celery.py
LOOK_SECONDS = 0.02


def schedule(database_url: str, broker_url: str, pause: float, ready: Barrier) -> None:
    """Relay until no notification is left, with the scheduler's pause after each call."""
    os.environ["STAR_BROKER_URL"] = broker_url
    from worker.celery import publish  # reads the variable

    engine = make_engine(database_url)
    waiting(engine)  # connected
    ready.wait()
    while waiting(engine):
        relay(engine, publish)
        time.sleep(pause)


def waiting(engine: Engine) -> int:
    with reading(engine) as session:
        return session.scalar(select(func.count(Outbox.id))) or 0


def measure(world: World, broker_url: str, schedulers: int, notifications: int) -> tuple[float, int]:
    """Seconds until all were sent, and how many went out once more than that."""
    with redis.Redis.from_url(broker_url) as broker:
        broker.flushall()
        with transaction(world.engine) as session:
            step_ids = session.scalars(select(Step.id)).all()
            notify(session, [step_ids[number % len(step_ids)] for number in range(notifications)])
        context = get_context("spawn")
        ready = context.Barrier(schedulers + 1)
        url, pause = world.settings.resolved_database_url(), world.settings.scheduler_seconds
        given = (url, broker_url, pause, ready)
        processes = [context.Process(target=schedule, args=given) for _ in range(schedulers)]
        for process in processes:
            process.start()
        ready.wait()
        began = time.monotonic()
        while waiting(world.engine):
            time.sleep(LOOK_SECONDS)
        seconds = time.monotonic() - began
        for process in processes:
            process.join()
        sent = broker.llen(QUEUE)
    assert isinstance(sent, int)
    return seconds, sent - notifications


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--notifications", type=int, default=5000)
    notifications = parser.parse_args().notifications
    print(f"# Relays\n\n```sh\npython -m benchmarks.relays --notifications {notifications}\n```\n")
    with new_world("postgresql") as world, tempfile.TemporaryDirectory() as folder:
        print(about(world))
        for _ in range(25):
            world.submit()
        relay(world.engine, lambda *_: None)  # the jobs' own notifications
        valkey = start_valkey(Path(folder))
        print(f"\n{notifications:,} notifications wait.\n")
        print("| schedulers | seconds | notifications a second | sent twice |")
        print("| --- | --- | --- | --- |")
        for schedulers in SCHEDULERS:
            seconds, twice = measure(world, valkey.url, schedulers, notifications)
            print(f"| {schedulers} | {seconds:.1f} | {notifications / seconds:,.0f} | {twice} |", flush=True)
        valkey.stop()


if __name__ == "__main__":
    main()
