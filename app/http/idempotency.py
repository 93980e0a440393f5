"""One request at a time under one Idempotency-Key: a second is told so instead of doing the same work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import Lock

from sqlalchemy import Engine, text

from app.errors import Conflict

_here: set[tuple[str, str]] = set()
_lock = Lock()


@contextmanager
def only_one(engine: Engine, project_id: str, key: str | None) -> Iterator[None]:
    """Raises Conflict while another request of the project with this key is being answered.

    What makes a job once is the unique key in its own transaction; this only spares the work of checking it
    twice, so it may forget: after a crash there is nothing to clean up. On PostgreSQL it holds between
    processes too, by an advisory lock of a session, outside any transaction: checks can take a minute.
    """
    if key is None:
        yield
        return
    name = (project_id, key)
    with _lock:
        if name in _here:
            raise _in_flight()
        _here.add(name)
    try:
        if engine.dialect.name != "postgresql":
            yield
            return
        with _advisory_lock(engine, "\x00".join(name)):
            yield
    finally:
        with _lock:
            _here.discard(name)


@contextmanager
def _advisory_lock(engine: Engine, name: str) -> Iterator[None]:
    number = {"number": int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), number):
            raise _in_flight()
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:number)"), number)


def _in_flight() -> Conflict:
    return Conflict(
        "A request with this Idempotency-Key is being answered right now. Send it again in a second.",
        code="idempotency_in_flight",
    )
