"""Rings are written with the step that they are for and sent after the commit, at least once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Engine, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from app.database import clock, reading, transaction
from app.failpoints import failpoint
from app.ledger.queue.capacity import queues_by_step
from app.tables.jobs import Outbox, Step

BATCH = 100
TAKEN_SECONDS = 5.0  # a relay that dies is followed by another after this; a batch takes a tenth of a second
RELAY_SECONDS = 2.0  # of one call, however many notifications wait: the reaper must have its turn


def notify(session: Session, step_ids: Iterable[str]) -> None:
    """Ask for a worker to be woken once per step, after this transaction commits."""
    session.add_all(Outbox(step_id=step_id) for step_id in step_ids)


def relay(engine: Engine, publish: Callable[[str, str], None], seconds: float = RELAY_SECONDS) -> int:
    """Publish waiting notifications, (step id, queue) once for each kind of worker that fits.

    Returns how many were sent; goes on while any wait, for `seconds`. Any number of relays may run at once:
    each takes a batch of its own, and others leave it alone for TAKEN_SECONDS. Nothing is locked while the
    broker is asked, so a hung broker hurts nobody. A notification that goes out twice (a slow relay, a crash
    before the delete) finds nothing to claim the second time.
    """
    began = time.monotonic()
    sent = 0
    while time.monotonic() - began < seconds:
        notifications, queues = _take(engine)
        if not notifications:
            break
        sent += _send(engine, notifications, queues, publish)
    return sent


def _take(engine: Engine) -> tuple[Sequence[Outbox], dict[str, set[str]]]:
    """The oldest notifications that no other relay has taken, and the queues of each one's step."""
    free = or_(Outbox.taken_until.is_(None), Outbox.taken_until < clock())
    with reading(engine) as session:  # on SQLite a transaction that may write waits for every other one
        if not session.scalar(select(exists().where(free))):
            return [], {}
    oldest = select(Outbox).where(free).order_by(Outbox.id).limit(BATCH)
    with transaction(engine) as session:
        notifications = session.scalars(oldest.with_for_update(skip_locked=True)).all()
        mine = update(Outbox).where(Outbox.id.in_([item.id for item in notifications]))
        session.execute(mine.values(taken_until=clock(TAKEN_SECONDS)))
        return notifications, queues_by_step(session, {item.step_id for item in notifications})


def _send(
    engine: Engine,
    notifications: Sequence[Outbox],
    queues: dict[str, set[str]],
    publish: Callable[[str, str], None],
) -> int:
    """What the broker does not take is left to the next relay."""
    sent = 0
    try:
        for item in notifications:
            failpoint("outbox.before_publish")
            for queue in sorted(queues[item.step_id]):
                publish(item.step_id, queue)
            failpoint("outbox.after_publish")
            sent += 1
    finally:
        _note(engine, notifications[:sent], notifications[sent:])
    return sent


def _note(engine: Engine, sent: Sequence[Outbox], unsent: Sequence[Outbox]) -> None:
    with transaction(engine) as session:
        if sent:
            session.execute(delete(Outbox).where(Outbox.id.in_([item.id for item in sent])))
            notified = update(Step).where(Step.id.in_([item.step_id for item in sent]))
            session.execute(notified.values(notified_at=clock()))
        if unsent:
            left = update(Outbox).where(Outbox.id.in_([item.id for item in unsent]))
            session.execute(left.values(taken_until=None))
