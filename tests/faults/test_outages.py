"""Broker and database are wiped, restarted, hung, cut off or slow while a job runs."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from sqlalchemy.engine import make_url

from tests.factories import World
from tests.faults.checker import check
from tests.faults.conftest import quick_world
from tests.faults.proxy import Proxy, Toxic
from tests.platforms import platform, wait_until
from tests.postgres import RunningPostgres
from worker import supervised_process
from worker.embedded import CELERY
from worker.valkey import free_port, start_valkey

OUTAGE_SECONDS = 8.0  # longer than two leases


def at_work(world: World) -> None:
    """In the middle of sampling: between two steps a worker holds no lease, and its GPU process stays."""
    wait_until(lambda: world.tries() >= 4, "the job is under way")


def slow_world(database_url: str, home: Path) -> World:
    return quick_world(database_url, home, sampler_script="tests.factories:slow_pupil")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A server and all its processes stand still."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for one in family:
        one.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for one in family:
            one.send_signal(signal.SIGCONT)


def test_a_broker_that_is_wiped_again_and_again_only_delays_the_job(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = slow_world(sqlite_database_url, tmp_path / "home")
    with platform(world, empty_valkey_url) as running, redis.Redis.from_url(empty_valkey_url) as client:
        running.scheduler()
        running.worker()
        job_id = world.submit(iterations=1)
        deadline = time.monotonic() + 180
        while world.job(job_id).status != "succeeded":
            assert time.monotonic() < deadline
            client.flushall()
            time.sleep(1)
        check(world, platform=running)


@pytest.mark.parametrize("how", [pytest.param("restarted empty", marks=pytest.mark.long), "hung"])
def test_a_broker_that_is_restarted_or_hangs_only_delays_the_job(
    how: str, sqlite_database_url: str, tmp_path: Path
) -> None:
    world = slow_world(sqlite_database_url, tmp_path / "home")
    port = free_port()
    broker = start_valkey(tmp_path / "first", port)
    with platform(world, broker.url) as running:
        running.scheduler()
        running.worker()
        job_id = world.submit(iterations=1)
        at_work(world)
        if how == "hung":
            with stopped(broker.process.pid):
                time.sleep(OUTAGE_SECONDS)
        else:
            broker.stop()
            time.sleep(OUTAGE_SECONDS)
            broker = start_valkey(tmp_path / "second", port)
        running.wait_for(job_id, "succeeded")
        after = world.submit(iterations=1)  # the worker still listens
        running.wait_for(after, "succeeded")
        check(world, platform=running)
    broker.stop()


def test_connections_that_the_database_ends_cost_nothing(
    postgres_url: str, postgresql_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    """As in a restart or a fail-over: every few seconds all are gone."""
    world = slow_world(postgresql_database_url, tmp_path / "home")
    name = make_url(postgresql_database_url).database
    with (
        platform(world, empty_valkey_url) as running,
        psycopg.connect(postgres_url, autocommit=True) as admin,
    ):
        running.scheduler()
        running.worker()
        job_id = world.submit(iterations=1)
        at_work(world)
        for _ in range(8):
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
            time.sleep(1)
        world.engine.dispose()
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)


@pytest.fixture
def own_postgres() -> Iterator[RunningPostgres]:
    from tests.databases import migrate
    from tests.postgres import start_postgres

    running = start_postgres()
    migrate(running.url)
    yield running
    running.stop()


def test_a_database_that_hangs_only_delays_the_job(
    own_postgres: RunningPostgres, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = slow_world(own_postgres.url, tmp_path / "home")
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker()
        job_id = world.submit(iterations=1)
        at_work(world)
        with stopped(own_postgres.process.pid):
            wait_until(lambda: not running.gpu_processes(), "the GPU is freed before the lease ends", 30)
            time.sleep(OUTAGE_SECONDS)
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)


@pytest.mark.long
def test_a_database_that_crashes_and_starts_again_only_delays_the_job(
    own_postgres: RunningPostgres, empty_valkey_url: str, tmp_path: Path
) -> None:
    """Once in every phase that lasts: what was committed is there, what was not is done again."""
    world = slow_world(own_postgres.url, tmp_path / "home")
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        admin.execute("alter role star set synchronous_commit = on")  # a commit that was answered is kept
    world.engine.dispose()  # sessions that were open before still answer first and write later
    server = own_postgres
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker()
        job_id = world.submit(iterations=1)
        for phase in ("baselines", "sample", "evaluate"):
            wait_until(lambda: world.job(job_id).phase == phase, f"the job is in {phase}")  # noqa: B023
            command = server.crash()
            time.sleep(OUTAGE_SECONDS)
            server = server.start_again(command)
            world.engine.dispose()
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
    supervised_process.stop(server.process)


@pytest.mark.long
@pytest.mark.parametrize("toxic", ["latency", "slow", "cut", "half-open", "refuse"])
@pytest.mark.parametrize("link", ["database", "broker"])
def test_a_toxic_connection_of_the_worker_only_delays_the_job(
    link: str, toxic: Toxic, postgresql_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = slow_world(postgresql_database_url, tmp_path / "home")
    url = make_url(postgresql_database_url if link == "database" else empty_valkey_url)
    proxy = Proxy((str(url.host), int(url.port or 0)))
    variable = "STAR_DATABASE_URL" if link == "database" else "STAR_BROKER_URL"
    proxied = url.set(port=proxy.port).render_as_string(hide_password=False)
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker("worker", CELERY, **{variable: proxied})
        job_id = world.submit(iterations=1)
        at_work(world)
        proxy.set(toxic)
        time.sleep(OUTAGE_SECONDS)
        proxy.set("none")
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
    proxy.close()
