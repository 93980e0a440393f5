"""Engine, sessions and the database's own clock. SQLite and PostgreSQL run the same code."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from sqlalchemy import DateTime, Engine, Text, create_engine, event, literal
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from app.given_up import stop_if_given_up

# For libpq. Nothing waits for ever: a server that is gone without a word is noticed after 30 s, and what a
# stopped process holds (a row, a transaction) is taken from it.
BOUNDS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "options": "-c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
}
CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


class UtcDateTime(TypeDecorator[datetime]):
    """Time zone aware on both databases; SQLite keeps UTC text with microseconds."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class clock(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock now, plus seconds. Workers' clocks never decide anything.

    PostgreSQL's now() stands still within a transaction, so clock_timestamp(). The seconds are a parameter:
    compiled again for each call, the statement that chooses the next step took 3.4 ms of CPU instead of 1.0.
    """

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, plus_seconds: float = 0.0) -> None:
        super().__init__(*([literal(float(plus_seconds))] if plus_seconds else []))


@compiles(clock, "postgresql")
def _clock_postgresql(element: clock, compiler: SQLCompiler, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(clock_timestamp() + make_interval(secs => {seconds}))" if seconds else "clock_timestamp()"


@compiles(clock, "sqlite")
def _clock_sqlite(element: clock, compiler: SQLCompiler, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    shift = f", {seconds} || ' seconds'" if seconds else ""
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now'{shift}) || '000')"


class utc_day(FunctionElement[str]):  # noqa: N801
    """The day of a time column in UTC, as 2026-01-31."""

    type = Text()
    inherit_cache = True


@compiles(utc_day, "postgresql")
def _day_postgresql(element: utc_day, compiler: SQLCompiler, **kw: Any) -> str:
    return f"to_char({compiler.process(element.clauses, **kw)} AT TIME ZONE 'UTC', 'YYYY-MM-DD')"


@compiles(utc_day, "sqlite")
def _day_sqlite(element: utc_day, compiler: SQLCompiler, **kw: Any) -> str:
    return f"strftime('%Y-%m-%d', {compiler.process(element.clauses, **kw)})"


class _Latest:
    """The number of the newest id that this process has made. Threads take turns."""

    number = 0
    turn = Lock()


def new_id(prefix: str) -> str:
    """`prefix_` and 26 characters: 48 bits of milliseconds, then 80 that begin at random: ids sort by time.

    Those that a process makes in one millisecond sort in the order in which they were made: each is a random
    step behind the last, so that two processes with a common past do not make the same ones.
    """
    with _Latest.turn:
        number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(79)  # of 80: the rest is to count on
        if number >> 80 <= _Latest.number >> 80:
            number = _Latest.number + 1 + secrets.randbits(40)
        _Latest.number = number
    return _id(prefix, number)


def id_before(prefix: str, seconds: float) -> str:
    """Ids made longer ago than this sort before it."""
    return _id(prefix, int((time.time() - seconds) * 1000) << 80)


def _id(prefix: str, number: int) -> str:
    return prefix + "_" + "".join(CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def make_engine(url: str, *, pool_size: int = 5) -> Engine:
    """An engine for a SQLite or PostgreSQL URL. Call `dispose(close=False)` on it after a fork.

    Its errors do not quote the values of a statement: they end up in logs, and the values are people's data.
    """
    if not url.startswith("sqlite"):
        most = 2 * pool_size
        return create_engine(
            url,
            pool_size=pool_size,
            max_overflow=most,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=BOUNDS,
        )
    engine = create_engine(url, hide_parameters=True)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    for pragma in ("journal_mode=WAL", "busy_timeout=30000", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """A reader that later writes gets SQLITE_BUSY, however long the timeout: so writers say so at once."""
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Open one session with one transaction: committed at the end, rolled back on any exception."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


class _ReadingSession(Session):
    """Asks before each statement whether anybody still waits for what it reads."""


@event.listens_for(_ReadingSession, "do_orm_execute")
def _stop_if_given_up(_state: ORMExecuteState) -> None:
    stop_if_given_up()


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Open a read-only session; on SQLite it never waits for a writer."""
    with _ReadingSession(engine.execution_options(reading=True), expire_on_commit=False) as session:
        yield session
