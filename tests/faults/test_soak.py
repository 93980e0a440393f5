"""Many jobs, several workers, and something breaks every moment: nothing is lost, nothing is doubled.

STAR_SOAK_FAULTS and STAR_SOAK_SEED choose how long and which; the seed is printed.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis

from tests.faults.checker import check
from tests.faults.conftest import quick_world
from tests.platforms import Platform, platform, wait_until
from tests.worlds import World

FAULTS = int(os.environ.get("STAR_SOAK_FAULTS", "200"))
SEED = int(os.environ.get("STAR_SOAK_SEED", str(time.time_ns() % 10**6)))
WORKERS = ("worker-1", "worker-2", "worker-3")
JOBS_AT_ONCE = 4
STOP_SECONDS = 5.0  # longer than the lease of 3 s
KINDS = ("pool child", "gpu process", "celery parent", "scheduler", "stop", "wipe broker")


class Soak:
    """Breaks one thing after another."""

    def __init__(self, running: Platform, broker_url: str) -> None:
        self.running = running
        self.broker = redis.Redis.from_url(broker_url)
        self.dice = random.Random(SEED)
        self.done: Counter[str] = Counter()
        self.stopped: list[tuple[float, psutil.Process]] = []

    def break_something(self) -> None:
        kind = self.dice.choice(KINDS)
        name = self.dice.choice(WORKERS)
        with suppress(psutil.NoSuchProcess, IndexError):  # it has just ended by itself
            if kind == "pool child":
                self.running.pool_child(name).kill()
            elif kind == "gpu process":
                self.dice.choice(self.running.gpu_processes()).kill()
            elif kind == "celery parent":
                self.running.kill(name)
                self.running.worker(name)
            elif kind == "scheduler":
                self.running.kill("scheduler")
                self.running.scheduler()
            elif kind == "stop":
                child = self.running.pool_child(name)
                child.suspend()
                self.stopped.append((time.monotonic() + STOP_SECONDS, child))
            else:
                self.broker.flushall()
            self.done[kind] += 1

    def wake(self, *, everybody: bool = False) -> None:
        for entry in list(self.stopped):
            if everybody or entry[0] < time.monotonic():
                self.stopped.remove(entry)
                with suppress(psutil.NoSuchProcess):
                    entry[1].send_signal(signal.SIGCONT)


def keep_busy(world: World, jobs: list[str]) -> None:
    running = sum(world.job(job_id).status not in ("succeeded", "failed") for job_id in jobs)
    jobs += [world.submit(iterations=1) for _ in range(JOBS_AT_ONCE - running)]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_is_lost_or_doubled_while_everything_breaks(
    database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    print(f"STAR_SOAK_SEED={SEED} STAR_SOAK_FAULTS={FAULTS}")  # noqa: T201
    world = quick_world(database_url, tmp_path / "home", max_attempts=1000)
    jobs: list[str] = []
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        for name in WORKERS:
            running.worker(name)
        soak = Soak(running, empty_valkey_url)
        while soak.done.total() < FAULTS:
            keep_busy(world, jobs)
            soak.break_something()
            soak.wake()
            time.sleep(0.6)
        soak.wake(everybody=True)
        wait_until(lambda: all(world.job(one).status == "succeeded" for one in jobs), "all end", 900)
        check(world, platform=running)
    print(f"{len(jobs)} jobs, faults: {dict(soak.done)}")  # noqa: T201
