"""Serializes requests with the same Idempotency-Key: a second one waits briefly for the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import Condition
from time import monotonic, sleep

from sqlalchemy import Engine, text

from app.errors import Conflict

WAIT_SECONDS = 3.0  # what making a job takes, mostly; checks of a large dataset take longer
LOOK_SECONDS = 0.05  # between two looks at the lock of another process

_here: set[tuple[str, str]] = set()
_changed = Condition()


@contextmanager
def only_one(engine: Engine, project_id: str, key: str | None) -> Iterator[None]:
    """Waits while another request of the project with this key is answered. Raises Conflict after a while.

    What makes a job once is the unique key in its own transaction; this only spares the work of checking it
    twice, so it may forget: after a crash there is nothing to clean up. On PostgreSQL it holds between
    processes too, by an advisory lock of a session, outside any transaction: checks can take a minute.
    """
    if key is None:
        yield
        return
    name = (project_id, key)
    ends = monotonic() + WAIT_SECONDS
    with _changed:
        if not _changed.wait_for(lambda: name not in _here, WAIT_SECONDS):
            raise _in_flight()
        _here.add(name)
    try:
        if engine.dialect.name != "postgresql":
            yield
            return
        with _advisory_lock(engine, "\x00".join(name), ends):
            yield
    finally:
        with _changed:
            _here.discard(name)
            _changed.notify_all()


@contextmanager
def _advisory_lock(engine: Engine, name: str, ends: float) -> Iterator[None]:
    number = {"number": int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), number):
            if monotonic() > ends:
                raise _in_flight()
            sleep(LOOK_SECONDS)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:number)"), number)


def _in_flight() -> Conflict:
    return Conflict(
        "A request with this Idempotency-Key is being answered right now. Send it again in a second.",
        code="idempotency_in_flight",
    )
