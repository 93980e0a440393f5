"""Promotions: which adapter stands for a name at a stage, such as production."""

from __future__ import annotations

from star_client.objects import Page, Resource, Timestamp
from star_client.objects_results import Apart
from star_client.quality.receipts import Receipt
from star_client.transport import Request, Transport


class Promotion(Resource):
    """An adapter at a stage, with its receipt as it was then. `ended_at` None: it stands.

    `forced`: the receipt showed no gain. `over_previous`: paired, to the one that stood there before.
    """

    name: str
    stage: str
    adapter: str
    job: str
    iteration: int
    model: str
    forced: bool
    reason: str | None = None
    promoted_by: str
    key: str
    receipt: Receipt
    over_previous: Apart | None = None
    ended_at: Timestamp | None = None
    created_at: Timestamp


class Promotions:
    """`name@stage` stands for an adapter's id wherever one is asked for."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        name: str | None = None,
        stage: str | None = None,
        adapter: str | None = None,
        current: bool = False,
        limit: int = 20,
        after: str | None = None,
    ) -> Page[Promotion]:
        """Newest first. current: only those that stand."""
        params = {
            "name": name,
            "stage": stage,
            "adapter": adapter,
            "current": "true" if current else None,
            "limit": limit,
            "after": after,
        }
        answer = self._transport.send(Request("GET", "/v1/promotions", params))
        return Page[Promotion].model_validate_json(answer.content)

    def get(self, promotion_id: str) -> Promotion:
        return self._one(Request("GET", f"/v1/promotions/{promotion_id}"))

    def end(self, promotion_id: str) -> Promotion:
        """Nothing stands there any more; the record stays."""
        return self._one(Request("DELETE", f"/v1/promotions/{promotion_id}", again=True))

    def _one(self, request: Request) -> Promotion:
        return Promotion.model_validate_json(self._transport.send(request).content)
