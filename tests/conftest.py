from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests import databases
from tests.postgres import in_memory, start_postgres
from worker.valkey import start_valkey

# A shell that runs the tests in its background has them ignore Ctrl-C, and every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of this test process (one per xdist worker): the URL of its `postgres` database.

    Where none can be started this fails. It never skips: CI would stay green with nothing tested on it.
    """
    running = start_postgres(scratch=in_memory())
    yield running.url
    running.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    databases.make_postgres_template(postgres_url)
    return postgres_url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    databases.migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database of this test alone."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'star.db')}"


@pytest.fixture
def postgresql_database_url(postgres_template: str) -> Iterator[str]:
    """A migrated PostgreSQL database of this test alone."""
    with databases.postgres_copy(postgres_template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of this test alone; the test runs on SQLite and again on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_database_url")
    return url


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey server of this test process; what earlier tests put there is still in it."""
    running = start_valkey(tmp_path_factory.mktemp("valkey"))
    yield running.url
    running.stop()


@pytest.fixture
def empty_valkey_url(valkey_url: str) -> str:
    """The same server, emptied."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return valkey_url


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """A server that speaks S3; started by the first test that asks for it."""
    from tests.s3_server import s3_server  # moto takes a second to import

    with s3_server() as url:
        yield url


@pytest.fixture
def s3_bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3://bucket/prefix, with the AWS_* variables that reach it set."""
    from tests.s3_server import environment, new_bucket

    for name, value in environment(s3_url).items():
        monkeypatch.setenv(name, value)
    return new_bucket(s3_url)
