"""Deliveries: written with the event, claimed by one sender at a time, tried again with growing pauses."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, delete, or_, select, update
from sqlalchemy.orm import Session

from app.database import clock, id_before, new_id, reading, transaction
from app.settings import Settings
from app.tables.jobs import Event, Job
from app.tables.webhooks import Webhook, WebhookDelivery

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
CLAIM_SECONDS = 60.0  # a sender that dies is followed by another after this; an attempt takes at most a third
LONGEST_PAUSE_SECONDS = 12 * 3600.0
# A receiver that answers nothing is left alone for this long at most, so one that is back is soon noticed.
LONGEST_SILENCE_SECONDS = 600.0
SLOW_SECONDS = 1.0  # an answer that took longer is followed by a pause of the same length
MAX_LOG = 50  # attempts that are kept of one delivery: it can be sent again by hand without end
KEPT_SECONDS = 30 * 86_400.0
GONE = 410  # the receiver's word that it wants nothing any more


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery claimed by a sender: what to send and where."""

    id: str
    attempt: int  # 1 for the first; a later claim has a higher one
    webhook: Webhook
    delivery: WebhookDelivery
    event: Event | None  # None: a test
    now: datetime  # by the database's clock


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt. `error` is None where the receiver answered with 2xx."""

    response_code: int | None
    error: str | None
    seconds: float


def wants(webhook: Webhook, event_type: str) -> bool:
    """Whether this webhook asked for events of this type."""
    group = event_type.partition(".")[0]
    return not {"*", f"{group}.*", event_type}.isdisjoint(webhook.events)


def enqueue_event(session: Session, job: Job, seq: int, event_type: str) -> None:
    """Write a delivery for each webhook that wants this event, in the event's own transaction."""
    with session.no_autoflush:
        mine = or_(Webhook.job_id.is_(None), Webhook.job_id == job.id)
        query = select(Webhook).where(Webhook.project_id == job.project_id, mine, Webhook.enabled)
        # Locked against being deleted: a delivery without its webhook would undo the event's transaction.
        for webhook in session.scalars(query.with_for_update(read=True, key_share=True)):
            if wants(webhook, event_type):
                session.add(_delivery(webhook, event_type, job.id, seq))


def enqueue_test(session: Session, webhook: Webhook) -> WebhookDelivery:
    delivery = _delivery(webhook, "webhook.test", None, None)
    session.add(delivery)
    session.flush()
    return delivery


def send_again(webhook: Webhook, delivery: WebhookDelivery) -> WebhookDelivery:
    """Send a delivery once more, now, under its own id and with all its attempts before it."""
    delivery.status, delivery.finished_at = PENDING, None
    delivery.attempts_before = delivery.attempts
    delivery.next_try_at = clock()
    wake(webhook)
    return delivery


def wake(webhook: Webhook) -> None:
    """Talk to a receiver again at once, though it has not answered lately: a person asks for it."""
    webhook.unanswered, webhook.quiet_until = None, None


def claim_delivery(engine: Engine, busy: Collection[str] = (), full: Collection[str] = ()) -> Message | None:
    """Claim the most overdue delivery for CLAIM_SECONDS; None if none is due.

    `busy`: webhooks that this sender is talking to. They wait, so a receiver that hangs holds up only itself.
    `full`: projects that have all the threads that they may have.
    """
    due = (
        select(WebhookDelivery.id, WebhookDelivery.attempts)
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .where(
            WebhookDelivery.next_try_at <= clock(),
            Webhook.enabled,
            or_(Webhook.quiet_until.is_(None), Webhook.quiet_until <= clock()),
            Webhook.id.not_in(list(busy)),
            Webhook.project_id.not_in(list(full)),
        )
        .order_by(WebhookDelivery.next_try_at, WebhookDelivery.id)
        .limit(1)
    )
    while True:
        with reading(engine) as session:
            found = session.execute(due).one_or_none()
        if found is None:
            return None
        message = _try_claim(engine, found.id, found.attempts)
        if message is not None:
            return message


def record_attempt(engine: Engine, message: Message, outcome: Outcome, settings: Settings) -> bool:
    """Write down what came of an attempt. False if another sender has claimed the delivery since."""
    with transaction(engine) as session:
        delivery = _locked(session, message)
        if delivery is None:
            return False
        delivery.response_code, delivery.error = outcome.response_code, outcome.error
        attempt = {
            "attempt": message.attempt,
            "at": message.now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "response_code": outcome.response_code,
            "error": outcome.error,
            "seconds": round(outcome.seconds, 3),
        }
        delivery.log = [*delivery.log, attempt][-MAX_LOG:]
        tries = message.attempt - (delivery.attempts_before or 0)  # since it was sent again by hand
        if outcome.error is None:
            _finish(delivery, DELIVERED)
        elif outcome.response_code == GONE or tries >= settings.webhook_attempts:
            _finish(delivery, FAILED)
        else:
            delivery.next_try_at = clock(pause_seconds(tries, settings.webhook_retry_seconds))
        _judge_receiver(session, delivery.webhook_id, outcome, settings)
        return True


def forget_deliveries(engine: Engine, kept_seconds: float = KEPT_SECONDS) -> int:
    """Delete the log of what was settled that long ago; returns how many. Read by primary key alone."""
    old = (WebhookDelivery.id < id_before("msg", kept_seconds), WebhookDelivery.status != PENDING)
    with transaction(engine) as session:
        return len(session.scalars(delete(WebhookDelivery).where(*old).returning(WebhookDelivery.id)).all())


def pause_seconds(attempt: int, first: float) -> float:
    """How long to wait after this attempt: five times as long each time, give or take a quarter.

    The jitter keeps the messages of one outage from coming back all at once. With the settings' 8 attempts
    and 5 s the last try is made about 16 hours after the first.
    """
    pause = min(first * 5.0 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
    return pause * random.uniform(0.75, 1.25)


def _delivery(webhook: Webhook, event_type: str, job_id: str | None, seq: int | None) -> WebhookDelivery:
    return WebhookDelivery(
        id=new_id("msg"),
        webhook_id=webhook.id,
        job_id=job_id,
        seq=seq,
        event_type=event_type,
        status=PENDING,
        attempts=0,
        next_try_at=clock(),
        log=[],
    )


def _try_claim(engine: Engine, delivery_id: str, attempts: int) -> Message | None:
    with transaction(engine) as session:
        same: tuple[Any, ...] = (WebhookDelivery.id == delivery_id, WebhookDelivery.attempts == attempts)
        delivery = session.scalars(
            update(WebhookDelivery)
            .where(*same, WebhookDelivery.next_try_at <= clock())
            .values(attempts=attempts + 1, next_try_at=clock(CLAIM_SECONDS))
            .returning(WebhookDelivery),
            execution_options={"synchronize_session": False, "populate_existing": True},
        ).one_or_none()
        if delivery is None:
            return None
        event = session.scalars(
            select(Event).where(Event.job_id == delivery.job_id, Event.seq == delivery.seq)
        ).one_or_none()
        webhook = session.get_one(Webhook, delivery.webhook_id)
        now = session.scalars(select(clock())).one()
        return Message(delivery.id, delivery.attempts, webhook, delivery, event, now)


def _locked(session: Session, message: Message) -> WebhookDelivery | None:
    mine = (WebhookDelivery.id == message.id, WebhookDelivery.attempts == message.attempt)
    query = select(WebhookDelivery).where(*mine, WebhookDelivery.status == PENDING)
    return session.scalars(query.with_for_update(key_share=True)).one_or_none()


def _judge_receiver(session: Session, webhook_id: str, outcome: Outcome, settings: Settings) -> None:
    """Leave a receiver alone for a while that is slow or does not answer; for good, if it is gone."""
    webhook = session.get_one(Webhook, webhook_id)
    if outcome.response_code == GONE:
        webhook.enabled = False
    if outcome.response_code is not None:
        webhook.unanswered = None
        webhook.quiet_until = clock(outcome.seconds) if outcome.seconds > SLOW_SECONDS else None
        return
    webhook.unanswered = (webhook.unanswered or 0) + 1
    pause = pause_seconds(webhook.unanswered, settings.webhook_retry_seconds)
    webhook.quiet_until = clock(min(pause, LONGEST_SILENCE_SECONDS))


def _finish(delivery: WebhookDelivery, status: str) -> None:
    delivery.status = status
    delivery.next_try_at = None
    delivery.finished_at = clock()
