"""Rings are written with the step that they are for and sent after the commit, at least once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.orm import Session

from app.database import clock, reading, transaction
from app.failpoints import failpoint
from app.ledger.capacity import doorbells
from app.models.jobs import Outbox, Step

BATCH = 100


def ring(session: Session, step_ids: Iterable[str]) -> None:
    """Ask for a worker to be woken once per step, after this transaction commits."""
    session.add_all(Outbox(step_id=step_id) for step_id in step_ids)


def relay(engine: Engine, publish: Callable[[str, str], None]) -> int:
    """Publish waiting rings, (step id, queue) once for each kind of worker that fits; returns how many.

    Any number of relays may run at once.
    Nothing is locked while the broker is asked, so a hung broker hurts nobody. A ring that goes out twice
    (two relays, a crash before the delete) finds nothing to claim the second time.
    """
    with reading(engine) as session:
        rings = session.scalars(select(Outbox).order_by(Outbox.id).limit(BATCH)).all()
        queues = doorbells(session, {item.step_id for item in rings}) if rings else {}
    sent: list[Outbox] = []
    try:
        for item in rings:
            failpoint("outbox.before_publish")
            for queue in sorted(queues[item.step_id]):
                publish(item.step_id, queue)
            failpoint("outbox.after_publish")
            sent.append(item)
    finally:
        if sent:
            _forget(engine, sent)
    return len(sent)


def _forget(engine: Engine, sent: Sequence[Outbox]) -> None:
    with transaction(engine) as session:
        session.execute(delete(Outbox).where(Outbox.id.in_([item.id for item in sent])))
        session.execute(
            update(Step).where(Step.id.in_([item.step_id for item in sent])).values(rung_at=clock())
        )
