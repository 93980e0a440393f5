"""Many jobs, several workers, and something breaks every moment. The seed says what."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psutil
import psycopg
import redis
from sqlalchemy.engine import make_url

from tests.platforms import WORKER, Platform, wait_until
from tests.worlds import World

STOP_SECONDS = (4.0, 12.0)  # longer than the lease of 3 s; long enough for others to take over, or not
# How often each is drawn. A Celery parent takes 2 s of CPU to start again: drawn more often, nothing else
# would be done.
KINDS = {"pool child": 5, "gpu process": 5, "stop": 8, "wipe broker": 4, "celery parent": 1, "scheduler": 1}
ON_POSTGRESQL = {"database connections": 2}


class Soak:
    """Breaks one thing after another, `pace` seconds apart where the machine keeps up."""

    def __init__(
        self,
        running: Platform,
        seed: int,
        pace: float,
        workers: int,
        command: tuple[str, ...] = WORKER,
        *,
        jobs: int = 4,
        **config: Any,
    ) -> None:
        """`jobs` of `config` run at once."""
        self.running = running
        self.world: World = running.world
        self.broker = redis.Redis.from_url(running.broker_url)
        self.dice = random.Random(seed)
        self.pace = pace
        self.command = command
        self.names = [f"worker-{number}" for number in range(workers)]
        self.done: Counter[str] = Counter()
        self.restarts = 0  # of what ended by itself
        self.stopped: list[tuple[float, psutil.Process]] = []
        self.jobs: list[str] = []
        self.jobs_at_once = jobs
        self.config = {"iterations": 1, **config}
        url = make_url(self.world.settings.resolved_database_url())
        self.database = url if url.get_backend_name() == "postgresql" else None
        self.kinds = KINDS | (ON_POSTGRESQL if self.database else {})
        running.scheduler()
        for name in self.names:
            running.worker(name, command)

    def run(self, faults: int, found: Callable[[], bool] = lambda: False) -> float:
        """Break so many things, or stop when `found` says so every 20; returns the seconds that it took."""
        began = time.monotonic()
        while self.done.total() < faults:
            number = self.done.total()
            if number % 20 == 0:
                self.keep_busy()
                if found():
                    break
            self.break_something()
            self.wake()
            self.start_what_ended()
            time.sleep(max(0.0, began + self.done.total() * self.pace - time.monotonic()))
        seconds = time.monotonic() - began
        self.wake(everybody=True)
        self.start_what_ended()
        return seconds

    def settle(self) -> None:
        """Let every job end, now that nothing breaks any more."""

        def all_ended() -> bool:
            self.start_what_ended()
            return not self.unfinished()

        wait_until(all_ended, "all jobs end", 1200)
        assert all(self.world.job(job_id).status == "succeeded" for job_id in self.jobs)

    def unfinished(self) -> Sequence[str]:
        return [one for one in self.jobs if self.world.job(one).status not in ("succeeded", "failed")]

    def keep_busy(self) -> None:
        missing = self.jobs_at_once - len(self.unfinished())
        self.jobs += [self.world.submit(**self.config) for _ in range(missing)]

    def break_something(self) -> None:
        [kind] = self.dice.choices(list(self.kinds), list(self.kinds.values()))
        with suppress(psutil.NoSuchProcess, IndexError):  # it has just ended by itself
            getattr(self, f"_{kind.replace(' ', '_')}")(self.dice.choice(self.names))
            self.done[kind] += 1

    def start_what_ended(self) -> None:
        """As `restart: unless-stopped` does. Celery ends itself where a pool child dies while it starts."""
        for name in [name for name, part in self.running.parts.items() if part.poll() is not None]:
            del self.running.parts[name]
            self.start(name)
            self.restarts += 1

    def start(self, name: str) -> None:
        if name == "scheduler":
            self.running.scheduler()
        else:
            self.running.worker(name, self.command)

    def wake(self, *, everybody: bool = False) -> None:
        for entry in list(self.stopped):
            if everybody or entry[0] < time.monotonic():
                self.stopped.remove(entry)
                with suppress(psutil.NoSuchProcess):
                    entry[1].send_signal(signal.SIGCONT)

    def _pool_child(self, name: str) -> None:
        self._process(name).children()[0].kill()

    def _gpu_process(self, name: str) -> None:
        """Of this worker: a child of its pool child."""
        self._process(name).children()[0].children()[0].kill()

    def _stop(self, name: str) -> None:
        child = self._process(name).children()[0]
        child.suspend()
        self.stopped.append((time.monotonic() + self.dice.uniform(*STOP_SECONDS), child))

    def _celery_parent(self, name: str) -> None:
        self._kill(name)

    def _scheduler(self, _: str) -> None:
        self._kill("scheduler")

    def _kill(self, name: str) -> None:
        self._process(name).kill()
        self.running.parts.pop(name).wait(timeout=60)
        self.start(name)

    def _process(self, name: str) -> psutil.Process:
        """The program below its supervisor; IndexError where it is just starting."""
        return psutil.Process(self.running.parts[name].pid).children()[0]

    def _wipe_broker(self, _: str) -> None:
        self.broker.flushall()

    def _database_connections(self, _: str) -> None:
        assert self.database is not None
        conninfo = self.database.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        self.world.engine.dispose()
