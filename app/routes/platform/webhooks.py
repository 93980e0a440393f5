"""Webhooks: signed HTTP notifications of events (Standard Webhooks)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Response
from pydantic import Field, StrictBool, StrictInt

from app.database import reading, transaction
from app.http.auth import Reader, Submitter
from app.http.dependencies import Config, Db
from app.http.router import api_router
from app.http.schemas import After, In, Limit, Page, Resource, Timestamp, page
from app.ledger.platform import webhooks as ledger
from app.tables.webhooks import Webhook, WebhookDelivery
from app.webhooks.secrets import server_secret, webhook_secret
from app.webhooks.validate import Description, Events, JobWebhookIn, Url, check_url

router = api_router("webhooks", "/v1/webhooks")

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
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    next_try_at: Timestamp | None
    response_code: int | None
    error: str | None
    log: Annotated[list[dict[str, Any]], Field(description="attempt, at, response_code, error, seconds")]
    finished_at: Timestamp | None


@router.post("", status_code=201, summary="Create a webhook")
def create(caller: Submitter, db: Db, settings: Config, sent: WebhookIn, response: Response) -> WebhookOut:
    """The secret in the answer is what signatures are checked with; it is not shown again."""
    server = server_secret(settings)
    check_url(sent.url, settings)
    with transaction(db) as session:
        made = ledger.create_webhook(
            session, caller.project_id, sent.url, list(sent.events), description=sent.description
        )
        response.headers["Location"] = f"/v1/webhooks/{made.id}"
        return webhook_out(made, webhook_secret(server, made.id, made.secret_version))


@router.get("", summary="List webhooks, newest first")
def list_(
    caller: Reader,
    db: Db,
    limit: Limit = 20,
    after: After = None,
    job: Annotated[str | None, Query(max_length=250, description="Only webhooks of this job.")] = None,
) -> Page[WebhookOut]:
    with reading(db) as session:
        found = ledger.list_webhooks(session, caller.project_id, job=job, after=after, limit=limit + 1)
        return page([webhook_out(webhook) for webhook in found], limit)


@router.get("/{webhook_id}", summary="Get a webhook")
def get(caller: Reader, db: Db, webhook_id: str) -> WebhookOut:
    with reading(db) as session:
        return webhook_out(ledger.get_webhook(session, caller.project_id, webhook_id))


@router.patch("/{webhook_id}", summary="Change a webhook")
def update(caller: Submitter, db: Db, settings: Config, webhook_id: str, sent: WebhookChanges) -> WebhookOut:
    changes = {name: value for name, value in sent.model_dump().items() if value is not None}
    with transaction(db) as session:
        webhook = ledger.get_webhook(session, caller.project_id, webhook_id)
        if sent.url is not None:
            check_url(sent.url, settings)
        return webhook_out(ledger.update_webhook(webhook, changes))


@router.delete("/{webhook_id}", status_code=204, summary="Delete a webhook and its log")
def delete(caller: Submitter, db: Db, webhook_id: str) -> None:
    """Delete a webhook. Undelivered events are dropped."""
    with transaction(db) as session:
        session.delete(ledger.get_webhook(session, caller.project_id, webhook_id))


@router.post("/{webhook_id}/rotate-secret", summary="Rotate the secret")
def rotate_secret(
    caller: Submitter, db: Db, settings: Config, webhook_id: str, sent: SecretRotationIn | None = None
) -> WebhookOut:
    """Rotate the secret. Both secrets sign for `grace_seconds`, so receivers can switch without
    losing events.
    """
    grace = (sent or SecretRotationIn()).grace_seconds
    with transaction(db) as session:
        webhook = ledger.get_webhook(session, caller.project_id, webhook_id)
        rotated = ledger.rotate_secret(session, webhook, grace)
        secret = webhook_secret(server_secret(settings), rotated.id, rotated.secret_version)
        return webhook_out(rotated, secret)


@router.post("/{webhook_id}/test", status_code=202, summary="Send a test message")
def test(caller: Submitter, db: Db, webhook_id: str) -> DeliveryOut:
    """Send a test event like any other; its outcome appears among the deliveries."""
    with transaction(db) as session:
        webhook = ledger.get_webhook(session, caller.project_id, webhook_id)
        return _delivery_out(ledger.send_test(session, webhook))


@router.get("/{webhook_id}/deliveries", summary="List the deliveries of a webhook, newest first")
def deliveries(
    caller: Reader,
    db: Db,
    webhook_id: str,
    limit: Limit = 20,
    after: After = None,
    status: Literal["pending", "delivered", "failed"] | None = None,
) -> Page[DeliveryOut]:
    """List deliveries: what was sent, the receiver's response, and the next retry."""
    with reading(db) as session:
        webhook = ledger.get_webhook(session, caller.project_id, webhook_id)
        found = ledger.list_deliveries(session, webhook.id, status=status, after=after, limit=limit + 1)
        return page([_delivery_out(delivery) for delivery in found], limit)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=202, summary="Send a delivery again"
)
def redeliver(caller: Submitter, db: Db, webhook_id: str, delivery_id: str) -> DeliveryOut:
    """Now, under the same id, by which receivers know repeats. It gets all its attempts anew."""
    with transaction(db) as session:
        webhook = ledger.get_webhook(session, caller.project_id, webhook_id)
        return _delivery_out(ledger.redeliver(session, webhook, delivery_id))


def webhook_out(row: Webhook, secret: str | None = None) -> WebhookOut:
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
