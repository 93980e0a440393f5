"""What a person should look at first: kept rationales by their risk, as they are shown."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import reading
from app.errors import BadRequest
from app.http.schemas import Page, page
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.platform.keys import Caller
from app.ledger.quality import review_queue as ledger
from app.ledger.results.iterations import get_iteration
from app.results.rationales import RationaleOut, rationale_out, row_id_of
from app.tables.platform import ApiKey

MAX_RATERS = 20


class RiskOut(BaseModel):
    """Why a rationale stands where it does; all shares are between 0 and 1."""

    risk: Annotated[float, Field(description="luck x disagreement: what the queue is ordered by.")]
    luck: Annotated[
        float,
        Field(
            description="The probability that the answer is right by chance, from how often the question's "
            "tries without a hint are right and what a guess is worth; of a rationalized text, that the "
            "model would not have got it without its hint."
        ),
    ]
    disagreement: Annotated[
        float,
        Field(
            description="The share of the question's other tries that are not right, (n + 1) / (all + 2); "
            "1 where the second opinion is against it."
        ),
    ]
    chance: Annotated[float, Field(description="What a guess is worth.")]
    tries: Annotated[int, Field(description="At the question, without a hint, up to this iteration.")]
    right: Annotated[int, Field(description="Of these.")]
    second_opinion: Annotated[
        bool | None,
        Field(
            description="Whether a second way to read the answer takes it, too; asked of the "
            f"{ledger.READ_TWICE} riskiest. Null: not asked, or it has no opinion."
        ),
    ]


class ReviewOut(BaseModel):
    """What one person says of the text: their newest override."""

    override: str
    reviewer: str
    verdict: Literal["correct", "wrong"]


class QueuedRationaleOut(RationaleOut):
    """A kept rationale that waits for a reviewer."""

    risk: RiskOut
    reviews: list[ReviewOut]


def read_review_queue(
    db: Engine,
    caller: Caller,
    job_id: str,
    iteration: int | None,
    raters: int = 1,
    *,
    limit: int,
    after: str | None = None,
) -> Page[QueuedRationaleOut]:
    """The riskiest first, of an iteration (None: the newest that has a training set).

    A text leaves the queue once `raters` people have judged it; what the caller has judged is left out.
    """
    with reading(db) as session:
        job = job_with_texts(session, caller.project_id, job_id)
        number = ledger.last_built(session, job) if iteration is None else iteration
        if number is None:
            return page([], limit)
        of, _ = get_iteration(session, job.id, number)
        queue = ledger.read_queue(session, job, of)
        ids = queue.after(_last(queue, after))
        found = ledger.read_open(session, job, queue, ids, raters, _who(session, caller))
        return page([_out(one) for one in islice(found, limit + 1)], limit)


def _last(queue: ledger.Queue, after: str | None) -> int | None:
    if after is None:
        return None
    number = row_id_of(after)
    if number not in queue.risks:
        raise BadRequest(f"{after} is no rationale of this queue: begin again without `after`.")
    return number


def _who(session: Session, caller: Caller) -> str:
    key = session.get_one(ApiKey, caller.key_id)
    return key.person or key.id


def _out(one: ledger.Queued) -> QueuedRationaleOut:
    risk = one.risk
    return QueuedRationaleOut(
        **dict(rationale_out(one.rationale, one.example)),
        risk=RiskOut(
            risk=round(risk.value, 6),
            luck=round(risk.luck, 6),
            disagreement=round(risk.disagreement, 6),
            chance=round(risk.chance, 6),
            tries=risk.tries.made,
            right=risk.tries.right,
            second_opinion=risk.second_opinion,
        ),
        reviews=[
            ReviewOut(override=f"ovr_{said.override_id}", reviewer=said.reviewer, verdict=said.verdict)
            for said in one.said
        ],
    )
