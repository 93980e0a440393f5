"""Webhooks: create, look up, change, rotate, delete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import clock, new_id
from app.errors import Conflict, NotFound
from app.ledger.platform.deliveries import enqueue_test, send_again, wake
from app.tables.webhooks import Webhook, WebhookDelivery

MAX_PER_PROJECT = 100  # of those for every job: each is looked at with every event


def create_webhook(
    session: Session,
    project_id: str,
    url: str,
    events: list[str],
    *,
    description: str = "",
    job_id: str | None = None,
) -> Webhook:
    """Record a webhook. Raises Conflict where the project has as many as it may."""
    mine = select(func.count()).where(Webhook.project_id == project_id, Webhook.job_id.is_(None))
    if job_id is None and (session.scalar(mine) or 0) >= MAX_PER_PROJECT:
        raise Conflict(
            f"A project has at most {MAX_PER_PROJECT} webhooks. Delete one first.", code="too_many_webhooks"
        )
    webhook = Webhook(
        id=new_id("whk"),
        project_id=project_id,
        job_id=job_id,
        url=url,
        events=events,
        description=description,
        enabled=True,
        secret_version=1,
    )
    session.add(webhook)
    session.flush()
    return webhook


def get_webhook(session: Session, project_id: str, webhook_id: str) -> Webhook:
    webhook = session.get(Webhook, webhook_id)
    if webhook is None or webhook.project_id != project_id:
        raise NotFound(f"There is no webhook {webhook_id}.")
    return webhook


def list_webhooks(
    session: Session, project_id: str, *, job: str | None, after: str | None, limit: int
) -> Sequence[Webhook]:
    """Newest first; `after` is the id of the last one seen, `job` leaves those of one job alone."""
    query = select(Webhook).where(Webhook.project_id == project_id).order_by(Webhook.id.desc()).limit(limit)
    if job is not None:
        query = query.where(Webhook.job_id == job)
    if after is not None:
        query = query.where(Webhook.id < after)
    return session.scalars(query).all()


def update_webhook(webhook: Webhook, changes: dict[str, Any]) -> Webhook:
    """Set url, events, description or enabled."""
    wake(webhook)
    for name, value in changes.items():
        setattr(webhook, name, value)
    return webhook


def rotate_secret(session: Session, webhook: Webhook, grace_seconds: float) -> Webhook:
    """Create a new secret; the previous one keeps signing as well for `grace_seconds`."""
    webhook.secret_version += 1
    webhook.old_secret_until = clock(grace_seconds)
    session.flush()
    return webhook


def signing_versions(webhook: Webhook, now: datetime) -> list[int]:
    """The versions of the secret that sign at this moment, the newest first."""
    old = webhook.old_secret_until is not None and webhook.old_secret_until > now
    return [webhook.secret_version, webhook.secret_version - 1] if old else [webhook.secret_version]


def send_test(session: Session, webhook: Webhook) -> WebhookDelivery:
    """Queue a `webhook.test` message, which goes the way of all others. Raises Conflict if it is disabled."""
    _refuse_disabled(webhook)
    wake(webhook)
    return enqueue_test(session, webhook)


def redeliver(session: Session, webhook: Webhook, delivery_id: str) -> WebhookDelivery:
    """Send a delivery again. Raises NotFound, or Conflict if the webhook is disabled."""
    delivery = get_delivery(session, webhook, delivery_id, lock=True)
    _refuse_disabled(webhook)
    send_again(webhook, delivery)
    session.flush()
    session.refresh(delivery)
    return delivery


def get_delivery(
    session: Session, webhook: Webhook, delivery_id: str, *, lock: bool = False
) -> WebhookDelivery:
    locked = {"key_share": True} if lock else None
    delivery = session.get(WebhookDelivery, delivery_id, with_for_update=locked)
    if delivery is None or delivery.webhook_id != webhook.id:
        raise NotFound(f"There is no delivery {delivery_id} of this webhook.")
    return delivery


def _refuse_disabled(webhook: Webhook) -> None:
    if not webhook.enabled:
        raise Conflict("The webhook is disabled. Enable it first.", code="webhook_disabled")


def list_deliveries(
    session: Session, webhook_id: str, *, status: str | None, after: str | None, limit: int
) -> Sequence[WebhookDelivery]:
    """Newest first; `after` is the id of the last one seen."""
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    query = query.order_by(WebhookDelivery.id.desc()).limit(limit)
    if status is not None:
        query = query.where(WebhookDelivery.status == status)
    if after is not None:
        query = query.where(WebhookDelivery.id < after)
    return session.scalars(query).all()
