"""What an Idempotency-Key has made: remembered in the transaction that makes it, for objects of any kind."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine, delete
from sqlalchemy.orm import Session

from app.database import clock, transaction
from app.errors import Invalid
from app.tables.jobs import IdempotencyKey

REMEMBERED = timedelta(days=30)  # keys of jobs live as long as their jobs


def remember_made(session: Session, project_id: str, key: str, fingerprint: str, object_id: str) -> None:
    """Tie the key to the object. IntegrityError where another request with this key was first."""
    session.add(IdempotencyKey(project_id=project_id, key=key, fingerprint=fingerprint, object_id=object_id))
    session.flush()


def known_key(session: Session, project_id: str, key: str, fingerprint: str) -> IdempotencyKey | None:
    """What the key stands for, if anything. Raises Invalid if that was another request."""
    known = session.get(IdempotencyKey, (project_id, key))
    if known is not None and known.fingerprint != fingerprint:
        raise Invalid(
            "This Idempotency-Key was used with another request. Use a new key for a new request.",
            code="idempotency_mismatch",
        )
    return known


def forget_keys(engine: Engine) -> int:
    """Drop the old keys of what is no job; returns how many."""
    old = delete(IdempotencyKey).where(
        IdempotencyKey.job_id.is_(None), IdempotencyKey.created_at < clock(-REMEMBERED.total_seconds())
    )
    with transaction(engine) as session:
        return session.connection().execute(old).rowcount
