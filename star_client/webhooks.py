"""Webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from star_client.objects import Page
from star_client.objects_platform import Delivery, Webhook
from star_client.transport import Request, Transport, matching, once


class Webhooks:
    """Webhooks, signed with their `secret` as https://www.standardwebhooks.com describes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        url: str,
        *,
        events: Sequence[str] | None = None,
        description: str = "",
        idempotency_key: str | None = None,
    ) -> Webhook:
        """The answer, and only it, holds the secret. Raises Refused for an address in a private network.

        Sent with an Idempotency-Key: a retry makes no second webhook, and its answer holds the secret too.
        """
        body: dict[str, Any] = {"url": url, "description": description}
        body |= {} if events is None else {"events": list(events)}
        return self._one(once("/v1/webhooks", body, idempotency_key))

    def list(self, *, job: str | None = None, limit: int = 20, after: str | None = None) -> Page[Webhook]:
        request = Request("GET", "/v1/webhooks", {"job": job, "limit": limit, "after": after})
        return Page[Webhook].model_validate_json(self._transport.send(request).content)

    def get(self, webhook_id: str) -> Webhook:
        return self._one(Request("GET", f"/v1/webhooks/{webhook_id}"))

    def update(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
        if_match: str | None = None,
    ) -> Webhook:
        """Change the given fields. `if_match`: only of this version (`etag`), else Refused (412)."""
        given = {
            "url": url,
            "events": None if events is None else [*events],
            "description": description,
            "enabled": enabled,
        }
        body = {name: value for name, value in given.items() if value is not None}
        path, headers = f"/v1/webhooks/{webhook_id}", matching(if_match)
        return self._one(Request("PATCH", path, headers=headers, json=body, again=True))

    def delete(self, webhook_id: str, *, if_match: str | None = None) -> None:
        self._transport.send(Request("DELETE", f"/v1/webhooks/{webhook_id}", headers=matching(if_match)))

    def deliveries(
        self, webhook_id: str, *, status: str | None = None, limit: int = 20, after: str | None = None
    ) -> Page[Delivery]:
        """Newest first; status: pending, delivered or failed."""
        params = {"status": status, "limit": limit, "after": after}
        request = Request("GET", f"/v1/webhooks/{webhook_id}/deliveries", params)
        return Page[Delivery].model_validate_json(self._transport.send(request).content)

    def test(self, webhook_id: str) -> Delivery:
        """Have an event of type webhook.test delivered."""
        answer = self._transport.send(once(f"/v1/webhooks/{webhook_id}/test"))
        return Delivery.model_validate_json(answer.content)

    def redeliver(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Have a delivery sent again, now, under the same id and with all its attempts before it."""
        path = f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"
        return Delivery.model_validate_json(self._transport.send(Request("POST", path, again=True)).content)

    def rotate_secret(self, webhook_id: str, *, grace_seconds: int | None = None) -> Webhook:
        """Create a new secret. Until the grace period ends, deliveries are signed with both."""
        body = {} if grace_seconds is None else {"grace_seconds": grace_seconds}
        return self._one(once(f"/v1/webhooks/{webhook_id}/rotate-secret", body))

    def _one(self, request: Request) -> Webhook:
        return Webhook.read_from(self._transport.send(request))
