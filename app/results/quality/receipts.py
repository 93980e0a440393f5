"""Receipts of adapters as they are shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import reading
from app.errors import Conflict
from app.ledger.quality.receipts import read_receipt
from app.ledger.results.adapters import get_adapter
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from star_engine.adapters.roles import NOT_ASKED, AdapterRole
from star_engine.evaluation.answer import Verdict
from star_engine.evaluation.collapse import CollapseMeasures
from star_engine.evaluation.intervals import Interval
from star_engine.evaluation.receipt import NotRun, Receipt, RivalKind
from star_engine.evaluation.report import Difference


class ClaimOut(BaseModel):
    """The adapter against one rival on the held-out questions that both answered: a paired test."""

    kind: RivalKind
    against: str
    verdict: Verdict
    accuracy: Annotated[float, Field(description="Of the rival.")]
    difference: Annotated[
        Difference, Field(description="`points` is a share; p and interval allow for the choice.")
    ]
    sentence: str


class ReceiptOut(BaseModel):
    """What an adapter gained on held-out questions, over what, and how sure that is."""

    object: Literal["receipt"] = "receipt"
    adapter: str
    job: str
    iteration: int
    n: Annotated[int, Field(description="Held-out questions that it was asked.")]
    correct: int
    accuracy: float | None
    interval: Interval | None
    chosen_from: Annotated[
        int, Field(description="Iterations it can have been chosen from: p and intervals allow for it.")
    ]
    claims: list[ClaimOut]
    not_run: Annotated[list[NotRun], Field(description="What nothing is known of, and how to run it.")]
    gain: Annotated[
        ClaimOut | None,
        Field(description="Against the better few-shot baseline of the base model: what promotion asks for."),
    ]
    verdict: Annotated[Verdict, Field(description="Of `gain`.")]
    sentence: str
    collapse: CollapseMeasures | None


class NoReceipt(Conflict):
    code, title = "no_receipt", "No receipt"


def read_adapter_receipt(db: Engine, project_id: str, adapter_id: str) -> ReceiptOut:
    """Raises NoReceipt for an adapter that writes no answers."""
    with reading(db) as session:
        adapter, job = get_adapter(session, project_id, adapter_id)
        return receipt_out(adapter, receipt_of(session, adapter, job))


def receipt_of(session: Session, adapter: Adapter, job: Job) -> Receipt:
    """Raises NoReceipt for an adapter that writes no answers."""
    if adapter.role is not AdapterRole.GENERATOR:
        raise NoReceipt(
            f"{adapter.id} is of the role {adapter.role}: {NOT_ASKED[adapter.role]}. "
            "So no receipt can be made; a generator has one."
        )
    return read_receipt(session, job, adapter.iteration_number)


def receipt_out(adapter: Adapter, found: Receipt) -> ReceiptOut:
    claims = {
        one.kind: ClaimOut(
            kind=one.kind,
            against=one.comparison.against,
            verdict=one.comparison.verdict,
            accuracy=one.comparison.accuracy,
            difference=one.comparison.difference,
            sentence=one.sentence,
        )
        for one in found.claims
    }
    return ReceiptOut(
        adapter=adapter.id,
        job=adapter.job_id,
        iteration=found.iteration,
        n=found.n,
        correct=found.correct,
        accuracy=found.accuracy,
        interval=found.interval,
        chosen_from=found.chosen_from,
        claims=list(claims.values()),
        not_run=list(found.not_run),
        gain=None if found.gain is None else claims[found.gain.kind],
        verdict=found.verdict,
        sentence=found.sentence,
        collapse=found.collapse,
    )
