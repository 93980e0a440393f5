"""star webhooks: where events are reported to, and what came of each delivery."""

from __future__ import annotations

from typing import Annotated

import typer

from star_client.cli.invocation import AsJson, Grace, IfMatch, Limit, star
from star_client.cli.printing import Columns, moment, print_all, print_one
from star_client.objects_platform import Delivery, Webhook

webhooks = typer.Typer(no_args_is_help=True, help="Where events are reported to.")

WEBHOOK: Columns[Webhook] = {
    "id": lambda one: one.id,
    "url": lambda one: one.url,
    "events": lambda one: ", ".join(one.events),
    "enabled": lambda one: "yes" if one.enabled else "no",
    "job": lambda one: one.job,
}
NEW_WEBHOOK: Columns[Webhook] = {**WEBHOOK, "secret": lambda one: one.secret}
DELIVERY: Columns[Delivery] = {
    "id": lambda one: one.id,
    "event": lambda one: one.event_type,
    "status": lambda one: one.status,
    "attempts": lambda one: one.attempts,
    "response": lambda one: one.response_code,
    "error": lambda one: one.error,
    "created": lambda one: moment(one.created_at),
}

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK")]


@webhooks.command("create")
def create_webhook(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="https://...")],
    event: Annotated[list[str] | None, typer.Option(help="As in job.succeeded; default: a job ends.")] = None,
    description: Annotated[str, typer.Option()] = "",
    as_json: AsJson = False,
) -> None:
    """Create a webhook and print its signing secret, which is shown only once."""
    made = star(context).webhooks.create(url, events=event, description=description)
    print_one(made, NEW_WEBHOOK, as_json)


@webhooks.command("list")
def list_webhooks(context: typer.Context, limit: Limit = 20, as_json: AsJson = False) -> None:
    print_all(star(context).webhooks.list(limit=limit).data, WEBHOOK, as_json)


@webhooks.command("delete")
def delete_webhook(context: typer.Context, webhook_id: WebhookId, if_match: IfMatch = None) -> None:
    star(context).webhooks.delete(webhook_id, if_match=if_match)


@webhooks.command("enable")
def enable_webhook(
    context: typer.Context, webhook_id: WebhookId, if_match: IfMatch = None, as_json: AsJson = False
) -> None:
    changed = star(context).webhooks.update(webhook_id, enabled=True, if_match=if_match)
    print_one(changed, WEBHOOK, as_json)


@webhooks.command("disable")
def disable_webhook(
    context: typer.Context, webhook_id: WebhookId, if_match: IfMatch = None, as_json: AsJson = False
) -> None:
    changed = star(context).webhooks.update(webhook_id, enabled=False, if_match=if_match)
    print_one(changed, WEBHOOK, as_json)


@webhooks.command("test")
def send_test(context: typer.Context, webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Have a test event delivered; star webhooks deliveries shows what came of it."""
    print_one(star(context).webhooks.test(webhook_id), DELIVERY, as_json)


@webhooks.command("deliveries")
def list_deliveries(
    context: typer.Context,
    webhook_id: WebhookId,
    status: Annotated[str | None, typer.Option(help="pending, delivered or failed")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    print_all(
        star(context).webhooks.deliveries(webhook_id, status=status, limit=limit).data, DELIVERY, as_json
    )


@webhooks.command("redeliver")
def redeliver(
    context: typer.Context,
    webhook_id: WebhookId,
    delivery_id: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id: msg_...")],
    as_json: AsJson = False,
) -> None:
    """Have a delivery sent again, now, whatever became of it."""
    print_one(star(context).webhooks.redeliver(webhook_id, delivery_id), DELIVERY, as_json)


@webhooks.command("rotate-secret")
def rotate_secret(
    context: typer.Context, webhook_id: WebhookId, grace: Grace = None, as_json: AsJson = False
) -> None:
    made = star(context).webhooks.rotate_secret(webhook_id, grace_seconds=grace)
    print_one(made, NEW_WEBHOOK, as_json)
