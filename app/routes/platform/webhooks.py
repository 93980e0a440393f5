"""Webhooks: signed HTTP notifications of events (Standard Webhooks)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from app.http.auth import Reader, Submitter
from app.http.dependencies import Config, Db
from app.http.idempotency import MadeOnce, made_once
from app.http.ranges import IfMatch, tagged
from app.http.router import api_router
from app.http.schemas import CHANGED, After, Limit, Page
from app.platform import webhooks as use
from app.platform.webhooks import (
    DeliveryOut,
    DeliveryStatus,
    SecretRotationIn,
    WebhookChanges,
    WebhookIn,
    WebhookOut,
)

router = api_router("webhooks", "/v1/webhooks")


@router.post("", status_code=201, summary="Create a webhook")
def create(
    caller: Submitter, db: Db, settings: Config, once: MadeOnce, sent: WebhookIn, response: Response
) -> WebhookOut:
    """The secret in the answer is what signatures are checked with; it is not shown again, except to the same
    request under the same Idempotency-Key.
    """
    answer = made_once(
        db,
        once,
        response,
        lambda: use.create_webhook(db, caller.project_id, settings, sent, once),
        lambda one: use.read_with_secret(db, caller.project_id, settings, one),
    )
    response.headers["Location"] = f"/v1/webhooks/{answer.id}"
    return answer


@router.get("", summary="List webhooks, newest first")
def list_(
    caller: Reader,
    db: Db,
    limit: Limit = 20,
    after: After = None,
    job: Annotated[str | None, Query(max_length=250, description="Only webhooks of this job.")] = None,
) -> Page[WebhookOut]:
    return use.read_webhooks(db, caller.project_id, job=job, after=after, limit=limit)


@router.get("/{webhook_id}", summary="Get a webhook")
def get(caller: Reader, db: Db, response: Response, webhook_id: str) -> WebhookOut:
    return tagged(response, use.read_webhook(db, caller.project_id, webhook_id))


@router.patch("/{webhook_id}", responses=CHANGED, summary="Change a webhook")
def update(
    caller: Submitter,
    db: Db,
    settings: Config,
    expected: IfMatch,
    response: Response,
    webhook_id: str,
    sent: WebhookChanges,
) -> WebhookOut:
    changed = use.change_webhook(db, caller.project_id, settings, webhook_id, sent, expected)
    return tagged(response, changed)


@router.delete("/{webhook_id}", status_code=204, responses=CHANGED, summary="Delete a webhook and its log")
def delete(caller: Submitter, db: Db, expected: IfMatch, webhook_id: str) -> None:
    """Delete a webhook. Undelivered events are dropped."""
    use.delete_webhook(db, caller.project_id, webhook_id, expected)


@router.post("/{webhook_id}/rotate-secret", summary="Rotate the secret")
def rotate_secret(
    caller: Submitter,
    db: Db,
    settings: Config,
    once: MadeOnce,
    response: Response,
    webhook_id: str,
    sent: SecretRotationIn | None = None,
) -> WebhookOut:
    """Rotate the secret. Both secrets sign for `grace_seconds`, so receivers can switch without
    losing events.
    """
    grace = (sent or SecretRotationIn()).grace_seconds
    return made_once(
        db,
        once,
        response,
        lambda: use.rotate_secret(db, caller.project_id, settings, webhook_id, grace, once),
        lambda one: use.read_with_secret(db, caller.project_id, settings, one),
    )


@router.post("/{webhook_id}/test", status_code=202, summary="Send a test message")
def test(caller: Submitter, db: Db, once: MadeOnce, response: Response, webhook_id: str) -> DeliveryOut:
    """Send a test event like any other; its outcome appears among the deliveries."""
    return made_once(
        db,
        once,
        response,
        lambda: use.send_test(db, caller.project_id, webhook_id, once),
        lambda one: use.read_delivery(db, caller.project_id, webhook_id, one),
    )


@router.get("/{webhook_id}/deliveries", summary="List the deliveries of a webhook, newest first")
def deliveries(
    caller: Reader,
    db: Db,
    webhook_id: str,
    limit: Limit = 20,
    after: After = None,
    status: DeliveryStatus | None = None,
) -> Page[DeliveryOut]:
    """List deliveries: what was sent, the receiver's response, and the next retry."""
    return use.read_deliveries(db, caller.project_id, webhook_id, status=status, after=after, limit=limit)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=202, summary="Send a delivery again"
)
def redeliver(caller: Submitter, db: Db, webhook_id: str, delivery_id: str) -> DeliveryOut:
    """Now, under the same id, by which receivers know repeats. It gets all its attempts again."""
    return use.redeliver(db, caller.project_id, webhook_id, delivery_id)
