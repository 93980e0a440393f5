"""Webhooks: who is told of what, and what became of each message."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter, Viewer
from app.errors import Invalid
from app.http.dependencies import Config, Db
from app.http.problems import field_errors
from app.http.router import page_router
from app.http.schemas import After
from app.ledger.events import EVENT_TYPES
from app.ledger.platform.keys import Caller
from app.platform import webhooks as use
from app.platform.webhooks import DeliveryStatus, WebhookChanges, WebhookIn, WebhookOut

router = page_router("/platform/webhooks")
ROWS = 50
DAY = 86_400  # seconds for which an old secret signs as well


@router.get("")
def list_(request: Request, caller: Viewer, db: Db, after: After = None) -> Response:
    found = use.read_webhooks(db, caller.project_id, limit=ROWS, after=after)
    return page(request, "webhooks.html", caller, found=found, types=EVENT_TYPES)


@router.post("")
def create(
    request: Request,
    caller: Submitter,
    db: Db,
    settings: Config,
    address: Annotated[str, Form(min_length=1, max_length=2000)],
    description: Annotated[str, Form(max_length=1000)] = "",
    events: Annotated[list[str] | None, Form(max_length=100)] = None,
) -> Response:
    """Its secret is in the answer to this form and on no other page."""
    try:
        wanted = WebhookIn(url=address, description=description, events=events or ["*"])
    except ValidationError as wrong:
        raise Invalid("The webhook cannot be made.", errors=field_errors(wrong.errors())) from wrong
    made = use.create_webhook(db, caller.project_id, settings, wanted)
    return _shown(request, caller, db, made, status=201)


@router.get("/{webhook_id}")
def show(
    request: Request,
    caller: Viewer,
    db: Db,
    webhook_id: str,
    outcome: DeliveryStatus | None = None,
    after: After = None,
) -> Response:
    found = use.read_webhook(db, caller.project_id, webhook_id)
    return _shown(request, caller, db, found, outcome=outcome, after=after)


@router.post("/{webhook_id}/test")
def send_test(caller: Submitter, db: Db, webhook_id: str) -> Response:
    use.send_test(db, caller.project_id, webhook_id)
    return _back_to(webhook_id)


@router.post("/{webhook_id}/enable")
def enable(caller: Submitter, db: Db, settings: Config, webhook_id: str) -> Response:
    use.change_webhook(db, caller.project_id, settings, webhook_id, WebhookChanges(enabled=True))
    return _back_to(webhook_id)


@router.post("/{webhook_id}/disable")
def disable(caller: Submitter, db: Db, settings: Config, webhook_id: str) -> Response:
    use.change_webhook(db, caller.project_id, settings, webhook_id, WebhookChanges(enabled=False))
    return _back_to(webhook_id)


@router.post("/{webhook_id}/rotate")
def rotate(request: Request, caller: Submitter, db: Db, settings: Config, webhook_id: str) -> Response:
    """The new secret is in the answer to this form and on no other page."""
    made = use.rotate_secret(db, caller.project_id, settings, webhook_id, DAY)
    return _shown(request, caller, db, made)


@router.post("/{webhook_id}/delete")
def delete(caller: Submitter, db: Db, webhook_id: str) -> Response:
    use.delete_webhook(db, caller.project_id, webhook_id)
    return RedirectResponse(url("platform", "webhooks"), status_code=303)


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver")
def redeliver(caller: Submitter, db: Db, webhook_id: str, delivery_id: str) -> Response:
    use.redeliver(db, caller.project_id, webhook_id, delivery_id)
    return _back_to(webhook_id)


def _shown(
    request: Request,
    caller: Caller,
    db: Db,
    webhook: WebhookOut,
    *,
    outcome: DeliveryStatus | None = None,
    after: str | None = None,
    status: int = 200,
) -> Response:
    sent = use.read_deliveries(db, caller.project_id, webhook.id, status=outcome, limit=ROWS, after=after)
    return page(request, "webhook.html", caller, webhook=webhook, found=sent, outcome=outcome, status=status)


def _back_to(webhook_id: str) -> Response:
    return RedirectResponse(url("platform", "webhooks", webhook_id), status_code=303)
