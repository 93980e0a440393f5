"""Promotions: which adapter stands for a name at a stage."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from app.http.auth import Reader, Submitter
from app.http.dependencies import Db
from app.http.idempotency import MadeOnce, made_once
from app.http.router import api_router
from app.http.schemas import After, Limit, Page
from app.results.quality.promotions import (
    PromotionIn,
    PromotionOut,
    end_promotion,
    promote_adapter,
    read_promotion,
    read_promotions,
)

router = api_router("adapters", "/v1")


@router.post("/adapters/{adapter_id}/promote", status_code=201, summary="Promote an adapter to a stage")
def create(
    caller: Submitter, db: Db, once: MadeOnce, response: Response, adapter_id: str, sent: PromotionIn
) -> PromotionOut:
    """Put the adapter in place of the one that stands there; 200 where it stands there already.

    Refused with `gain_not_shown` where the interval of its gain over the base model covers 0, unless forced
    with a reason. A promoted adapter is exempt from retention, and its job cannot be deleted.
    """

    def make() -> PromotionOut:
        found, is_new = promote_adapter(db, caller, adapter_id, sent, once)
        response.status_code = 201 if is_new else 200
        return found

    made = made_once(db, once, response, make, lambda name: read_promotion(db, caller.project_id, name))
    response.headers["Location"] = f"/v1/promotions/{made.id}"
    return made


@router.get("/promotions", summary="List promotions, newest first")
def list_(
    caller: Reader,
    db: Db,
    name: Annotated[str | None, Query(max_length=100)] = None,
    stage: Annotated[str | None, Query(max_length=100)] = None,
    adapter: Annotated[str | None, Query(max_length=250, description="An adapter's id or alias.")] = None,
    *,
    current: Annotated[bool, Query(description="Only those that stand.")] = False,
    limit: Limit = 20,
    after: After = None,
) -> Page[PromotionOut]:
    return read_promotions(
        db,
        caller.project_id,
        name=name,
        stage=stage,
        adapter=adapter,
        current=current,
        limit=limit,
        after=after,
    )


@router.get("/promotions/{promotion_id}", summary="Get a promotion")
def get(caller: Reader, db: Db, promotion_id: str) -> PromotionOut:
    return read_promotion(db, caller.project_id, promotion_id)


@router.delete("/promotions/{promotion_id}", summary="End a promotion")
def end(caller: Submitter, db: Db, promotion_id: str) -> PromotionOut:
    """Nothing stands at its name and stage any more; the record stays."""
    return end_promotion(db, caller.project_id, promotion_id)
