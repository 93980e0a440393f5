"""Makes a job once under one Idempotency-Key, for requests that are checked within their transaction."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import reading
from app.http.idempotency import only_one
from app.ledger.jobs.jobs import replayed_job
from app.tables.jobs import Job

Answer = TypeVar("Answer")


def fingerprint_of(operation: str, body: str) -> str:
    """The SHA-256 that tells another request under the same key. `operation`: with the ids in its path."""
    return sha256(f"{operation} {body}".encode()).hexdigest()


def made_once(
    db: Engine,
    project_id: str,
    key: str | None,
    fingerprint: str,
    make: Callable[[], Answer],
    show: Callable[[Session, Job], Answer],
) -> tuple[Answer, bool]:
    """The answer, and whether an earlier request with this key had made its job.

    `make` calls `remember_key` in the transaction that makes the job. Raises Invalid where the key stood for
    another request, and Conflict where its job was deleted or another request has been at it for long.
    """
    if key is None:
        return make(), False

    def before() -> Answer | None:
        with reading(db) as session:
            job = replayed_job(session, project_id, key, fingerprint)
            return None if job is None else show(session, job)

    if (known := before()) is not None:  # replays do not wait for each other
        return known, True
    with only_one(db, project_id, key):
        if (known := before()) is not None:
            return known, True
        try:
            return make(), False
        except IntegrityError:  # another process was first
            if (known := before()) is None:
                raise
            return known, True
