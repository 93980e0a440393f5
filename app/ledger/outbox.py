"""Rings are written with the step that they are for and sent after the commit, at least once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.orm import Session

from app.database import clock, transaction
from app.models import Outbox, Step

BATCH = 100


def ring(session: Session, step_ids: Iterable[str]) -> None:
    """Ask for a worker to be woken once per step, after this transaction commits."""
    session.add_all(Outbox(step_id=step_id) for step_id in step_ids)


def relay(engine: Engine, publish: Callable[[str], None]) -> int:
    """Publish waiting rings; returns how many. Any number of relays may run at once.

    A crash between publish and commit rings twice: the second ring finds nothing to claim.
    """
    with transaction(engine) as session:
        query = select(Outbox).order_by(Outbox.id).limit(BATCH).with_for_update(skip_locked=True)
        rings = session.scalars(query).all()
        for item in rings:
            publish(item.step_id)
        session.execute(delete(Outbox).where(Outbox.id.in_([item.id for item in rings])))
        session.execute(
            update(Step).where(Step.id.in_([item.step_id for item in rings])).values(rung_at=clock())
        )
    return len(rings)
