"""Promoting adapters to a stage: refused where the receipt does not show a gain, unless forced."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StringConstraints, TypeAdapter
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.errors import Conflict, Invalid
from app.http.idempotency import UNKEYED, Once
from app.http.schemas import In, Page, Resource, Text, Timestamp, page
from app.ledger.platform.keys import Caller
from app.ledger.quality import promotions as ledger
from app.ledger.quality.promotions import Grounds, Place, Promoted
from app.ledger.results.adapters import get_adapter
from app.results.quality.receipts import ReceiptOut, receipt_of, receipt_out
from app.tables.jobs import Job
from app.tables.quality import Promotion
from app.tables.rationales import Adapter
from star_engine.evaluation.receipt import refusal
from star_engine.evaluation.report import Difference

LABEL = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_DIFFERENCE = TypeAdapter(Difference)
Label = Annotated[str, StringConstraints(pattern=LABEL, max_length=100)]


class PromotionIn(In):
    """What to promote an adapter to. `name@stage` then stands for its id."""

    name: Annotated[Label, Field(description="Which of the project's adapters this is.")] = "default"
    stage: Label = "production"
    force: Annotated[
        StrictBool, Field(description="Promote it though its receipt does not show a gain. Needs `reason`.")
    ] = False
    reason: Annotated[
        Text | None, Field(min_length=3, max_length=2000, description="Stands in the audit log.")
    ] = None


class PromotionOut(Resource):
    """An adapter at a stage, with the receipt as it was when it was promoted."""

    object: Literal["promotion"] = "promotion"
    name: str
    stage: str
    adapter: str
    job: str
    iteration: int
    model: str
    forced: Annotated[bool, Field(description="Its receipt showed no gain.")]
    reason: str | None
    promoted_by: str
    key: str
    receipt: ReceiptOut
    over_previous: Annotated[
        Difference | None,
        Field(description="Paired, to the adapter that stood there before, on the same held-out questions."),
    ]
    ended_at: Annotated[Timestamp | None, Field(description="Null: it stands.")]


class GainNotShown(Conflict):
    code, title = "gain_not_shown", "Gain not shown"


def promote_adapter(
    db: Engine, caller: Caller, adapter_id: str, sent: PromotionIn, once: Once = UNKEYED
) -> tuple[PromotionOut, bool]:
    """The promotion, and whether it was made now. Raises GainNotShown, NoReceipt, Conflict, Invalid."""
    if sent.force and sent.reason is None:
        fix = "Say why in `reason`: it stands in the audit log."
        raise Invalid.for_field("reason", "A forced promotion needs a reason.", fix, code="reason_missing")
    place = Place(sent.name, sent.stage)
    try:
        with transaction(db) as session:
            adapter, job = get_adapter(session, caller.project_id, adapter_id)
            stands = ledger.current_promotion(session, caller.project_id, place)
            if stands is not None and stands.adapter_id == adapter.id:
                once.remember(session, stands.id)
                return _shown(Promoted(stands, adapter, job)), False
            on = _grounds(session, adapter, job, stands, sent)
            made = ledger.promote(session, caller, adapter, place, on)
            once.remember(session, made.id)
            return _shown(Promoted(made, adapter, job)), True
    except IntegrityError as other:
        raise Conflict(
            f"Another adapter was promoted to {sent.name}@{sent.stage} at the same moment. Look at it, and "
            "send this again.",
            code="promoted_meanwhile",
        ) from other


def _grounds(
    session: Session, adapter: Adapter, job: Job, stands: Promotion | None, sent: PromotionIn
) -> Grounds:
    found = receipt_of(session, adapter, job)
    refused = refusal(found)
    if refused is not None and not sent.force:
        raise GainNotShown(
            f"{refused} A gain that is not shown is not promoted. More held-out questions may show it; to "
            "promote it all the same, send force with a reason."
        )
    previous = None if stands is None else session.get(Adapter, stands.adapter_id)
    apart = ledger.over_previous(session, adapter, previous, found.chosen_from)
    return Grounds(
        receipt=receipt_out(adapter, found).model_dump(mode="json"),
        over_previous=None if apart is None else asdict(apart),
        forced=refused is not None,
        reason=sent.reason,
    )


def read_promotions(
    db: Engine, project_id: str, *, limit: int, after: str | None = None, **wanted: Any
) -> Page[PromotionOut]:
    """A page, newest first. `wanted`: name, stage, adapter, current."""
    with reading(db) as session:
        if wanted.get("adapter"):
            wanted["adapter"] = get_adapter(session, project_id, wanted["adapter"])[0].id
        found = ledger.list_promotions(session, project_id, after=after, limit=limit + 1, **wanted)
        return page([_shown(one) for one in found], limit)


def read_promotion(db: Engine, project_id: str, promotion_id: str) -> PromotionOut:
    with reading(db) as session:
        return _shown(ledger.get_promotion(session, project_id, promotion_id))


def end_promotion(db: Engine, project_id: str, promotion_id: str) -> PromotionOut:
    """Nothing stands there any more."""
    with transaction(db) as session:
        found = ledger.get_promotion(session, project_id, promotion_id)
        ledger.end_promotion(session, found.promotion)
        return _shown(found)


def _shown(one: Promoted) -> PromotionOut:
    row, adapter, job = one.promotion, one.adapter, one.job
    return PromotionOut(
        id=row.id,
        created_at=row.created_at,
        name=row.name,
        stage=row.stage,
        adapter=row.adapter_id,
        job=adapter.job_id,
        iteration=adapter.iteration_number,
        model=job.model_id,
        forced=row.forced,
        reason=row.reason,
        promoted_by=row.promoted_by,
        key=row.key_id,
        receipt=ReceiptOut.model_validate(row.receipt),
        over_previous=None if row.over_previous is None else _DIFFERENCE.validate_python(row.over_previous),
        ended_at=row.ended_at,
    )
