"""Webhooks as they are sent and shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt
from sqlalchemy import Engine

from app.database import reading, transaction
from app.http.idempotency import UNKEYED, Once
from app.http.ranges import ANY_VERSION, Expected
from app.http.schemas import In, Page, Resource, Timestamp, page
from app.ledger.platform import webhooks as ledger
from app.settings import Settings
from app.tables.webhooks import Webhook, WebhookDelivery
from app.webhooks.secrets import server_secret, webhook_secret
from app.webhooks.validate import Description, Events, JobWebhookIn, Url, check_url

DeliveryStatus = Literal["pending", "delivered", "failed"]
MAX_GRACE_SECONDS = 7 * 86_400


class WebhookIn(JobWebhookIn):
    description: Description = ""


class WebhookChanges(In):
    """Fields left out keep their value."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    enabled: StrictBool | None = None


class SecretRotationIn(In):
    grace_seconds: Annotated[StrictInt, Field(ge=0, le=MAX_GRACE_SECONDS)] = 86_400


class WebhookOut(Resource):
    object: Literal["webhook"] = "webhook"
    url: str
    events: list[str]
    description: str
    enabled: Annotated[bool, Field(description="False also after the receiver answered 410 Gone.")]
    job: Annotated[str | None, Field(description="The job whose events are sent; null: every job.")]
    secret: Annotated[str | None, Field(description="Shown only when it is created or rotated.")] = None
    old_secret_until: Annotated[
        Timestamp | None, Field(description="Until then the old secret signs as well.")
    ]
    quiet_until: Annotated[
        Timestamp | None,
        Field(description="Nothing is sent before then: the receiver was slow, or did not answer."),
    ]


class DeliveryOut(Resource):
    object: Literal["webhook_delivery"] = "webhook_delivery"
    webhook: str
    job: str | None
    event: Annotated[str | None, Field(description="null: a test")]
    event_type: str
    status: DeliveryStatus
    attempts: int
    next_try_at: Timestamp | None
    response_code: int | None
    error: str | None
    log: Annotated[list[dict[str, Any]], Field(description="attempt, at, response_code, error, seconds")]
    finished_at: Timestamp | None


def create_webhook(
    db: Engine, project_id: str, settings: Settings, sent: WebhookIn, once: Once = UNKEYED
) -> WebhookOut:
    """The webhook with its secret. Raises Invalid for an address that is not public."""
    server = server_secret(settings)
    check_url(sent.url, settings)
    with transaction(db) as session:
        made = ledger.create_webhook(
            session, project_id, sent.url, list(sent.events), description=sent.description
        )
        once.remember(session, made.id)
        return _out(made, webhook_secret(server, made.id, made.secret_version))


def read_webhooks(
    db: Engine, project_id: str, *, limit: int, job: str | None = None, after: str | None = None
) -> Page[WebhookOut]:
    """A page of the project's webhooks, newest first; `job`: only those of one job."""
    with reading(db) as session:
        found = ledger.list_webhooks(session, project_id, job=job, after=after, limit=limit + 1)
        return page([_out(webhook) for webhook in found], limit)


def read_webhook(db: Engine, project_id: str, webhook_id: str) -> WebhookOut:
    with reading(db) as session:
        return _out(ledger.get_webhook(session, project_id, webhook_id))


def read_with_secret(db: Engine, project_id: str, settings: Settings, webhook_id: str) -> WebhookOut:
    """With the secret that signs now, for who repeats the request that made it."""
    with reading(db) as session:
        row = ledger.get_webhook(session, project_id, webhook_id)
        return _out(row, webhook_secret(server_secret(settings), row.id, row.secret_version))


def change_webhook(
    db: Engine,
    project_id: str,
    settings: Settings,
    webhook_id: str,
    sent: WebhookChanges,
    expected: Expected = ANY_VERSION,
) -> WebhookOut:
    changes = {name: value for name, value in sent.model_dump().items() if value is not None}
    with transaction(db) as session:
        webhook = ledger.get_webhook(session, project_id, webhook_id)
        expected.check(session, webhook, lambda: _out(webhook))
        if sent.url is not None:
            check_url(sent.url, settings)
        return _out(ledger.update_webhook(webhook, changes))


def delete_webhook(db: Engine, project_id: str, webhook_id: str, expected: Expected = ANY_VERSION) -> None:
    """With its log. Undelivered events are dropped."""
    with transaction(db) as session:
        webhook = ledger.get_webhook(session, project_id, webhook_id)
        expected.check(session, webhook, lambda: _out(webhook))
        session.delete(webhook)


def rotate_secret(
    db: Engine,
    project_id: str,
    settings: Settings,
    webhook_id: str,
    grace_seconds: float,
    once: Once = UNKEYED,
) -> WebhookOut:
    """The webhook with its new secret; the old one signs as well for the grace period."""
    with transaction(db) as session:
        webhook = ledger.get_webhook(session, project_id, webhook_id)
        rotated = ledger.rotate_secret(session, webhook, grace_seconds)
        once.remember(session, webhook_id)
        secret = webhook_secret(server_secret(settings), rotated.id, rotated.secret_version)
        return _out(rotated, secret)


def send_test(db: Engine, project_id: str, webhook_id: str, once: Once = UNKEYED) -> DeliveryOut:
    """Queue a test message. Raises Conflict for a disabled webhook."""
    with transaction(db) as session:
        webhook = ledger.get_webhook(session, project_id, webhook_id)
        sent = ledger.send_test(session, webhook)
        once.remember(session, sent.id)
        return _delivery_out(sent)


def read_deliveries(
    db: Engine,
    project_id: str,
    webhook_id: str,
    *,
    limit: int,
    after: str | None = None,
    status: DeliveryStatus | None = None,
) -> Page[DeliveryOut]:
    """A page of the webhook's deliveries, newest first."""
    with reading(db) as session:
        webhook = ledger.get_webhook(session, project_id, webhook_id)
        found = ledger.list_deliveries(session, webhook.id, status=status, after=after, limit=limit + 1)
        return page([_delivery_out(delivery) for delivery in found], limit)


def read_delivery(db: Engine, project_id: str, webhook_id: str, delivery_id: str) -> DeliveryOut:
    with reading(db) as session:
        webhook = ledger.get_webhook(session, project_id, webhook_id)
        return _delivery_out(ledger.get_delivery(session, webhook, delivery_id))


def redeliver(db: Engine, project_id: str, webhook_id: str, delivery_id: str) -> DeliveryOut:
    """Send a delivery again. Raises Conflict for a disabled webhook."""
    with transaction(db) as session:
        webhook = ledger.get_webhook(session, project_id, webhook_id)
        return _delivery_out(ledger.redeliver(session, webhook, delivery_id))


def _out(row: Webhook, secret: str | None = None) -> WebhookOut:
    """`secret` is given where it was just made."""
    return WebhookOut(
        id=row.id,
        created_at=row.created_at,
        url=row.url,
        events=row.events,
        description=row.description,
        enabled=row.enabled,
        job=row.job_id,
        secret=secret,
        old_secret_until=row.old_secret_until,
        quiet_until=row.quiet_until,
    )


def _delivery_out(row: WebhookDelivery) -> DeliveryOut:
    return DeliveryOut(
        id=row.id,
        created_at=row.created_at,
        webhook=row.webhook_id,
        job=row.job_id,
        event=f"evt_{row.job_id}_{row.seq}" if row.job_id is not None else None,
        event_type=row.event_type,
        status=row.status,
        attempts=row.attempts,
        next_try_at=row.next_try_at,
        response_code=row.response_code,
        error=row.error,
        log=row.log,
        finished_at=row.finished_at,
    )
