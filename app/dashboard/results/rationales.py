"""Every rationale of a job: a list that filters narrow, and one of them in full."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Annotated, Any, Literal

from fastapi import Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Engine

from app.dashboard.rendering import page, url, with_query
from app.dashboard.results.prompts_shown import completion_of, prompts_of
from app.dashboard.results.segments import answered, put_in
from app.dashboard.results.verdict_words import DECISIONS, FINISHES, ROUTES, VERDICTS, decision_words
from app.dashboard.session import Submitter, Viewer
from app.database import reading
from app.http.dependencies import Db
from app.http.router import page_router
from app.http.schemas import After, Page
from app.jobs.read import read_job
from app.ledger.jobs.jobs import get_job
from app.ledger.platform.keys import Caller
from app.results.overrides import OverrideIn, create_override, read_overrides
from app.results.rationales import (
    RationaleDetailOut,
    RationaleOut,
    Wanted,
    read_rationale,
    read_rationales,
    row_id_of,
    wanted_of,
)
from star_engine.tasks.registry import task_of

router = page_router("/jobs/{job_id}/rationales")
ROWS = 50
BEFORE = 10  # rows that a list shows before the one that was linked to

Where = Annotated[Wanted, Depends(wanted_of)]
Chosen = Annotated[str | None, Query(max_length=30)]


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of the list, and the cursor for the next."""

    found: Page[RationaleOut]
    after: str | None


@router.get("")
def browse(
    request: Request,
    caller: Viewer,
    db: Db,
    job_id: str,
    wanted: Where,
    after: After = None,
    rationale: Chosen = None,
) -> Response:
    """Filters are those of GET /v1/jobs/{id}/rationales. htmx asks for one rationale alone."""
    listed = _list(caller, db, job_id, wanted, after, rationale)
    first = listed.found.data[0].id if listed.found.data else None
    shown = _shown(request, caller, db, job_id, listed, rationale or first)
    if request.headers.get("hx-request-type") == "partial":
        return page(request, "_rationale.html", caller, **shown)
    words: dict[str, Any] = {"routes": ROUTES, "verdicts": VERDICTS, "decisions": DECISIONS}
    job = read_job(db, caller.project_id, job_id)
    return page(request, "rationales.html", caller, job=job, wanted=wanted, **words, **shown)


@router.get("/{rationale_id}")
def permanent(caller: Viewer, job_id: str, rationale_id: str) -> Response:
    """A short link to one rationale."""
    return RedirectResponse(url("jobs", job_id, "rationales", rationale=rationale_id), status_code=303)


@router.post("/{rationale_id}/override")
def overrule(
    request: Request,
    caller: Submitter,
    db: Db,
    job_id: str,
    rationale_id: str,
    verdict: Annotated[Literal["correct", "wrong"], Form()],
    reason: Annotated[str, Form(min_length=1, max_length=2000)],
    wanted: Where,
    after: After = None,
) -> Response:
    sent = OverrideIn(verdict=verdict, reason=reason)
    made = create_override(db, caller, job_id, rationale_id, sent)
    if request.headers.get("hx-request") is None:
        again = str(request.url.include_query_params(rationale=rationale_id).query)
        return RedirectResponse(f"{url('jobs', job_id, 'rationales')}?{again}", status_code=303)
    listed = _list(caller, db, job_id, wanted, after, rationale_id)
    shown = _shown(request, caller, db, job_id, listed, rationale_id)
    return page(request, "_rationale.html", caller, **{**shown, "made": made})


def _list(
    caller: Caller, db: Engine, job_id: str, wanted: Wanted, after: str | None, rationale: str | None
) -> Listed:
    """The page of the list that was asked for; of a rationale linked to without one, that around it."""
    found = read_rationales(db, caller.project_id, job_id, wanted, limit=ROWS, after=after)
    if rationale is None or after is not None or rationale in (one.id for one in found.data):
        return Listed(found, after)
    around = f"rat_{max(row_id_of(rationale) - BEFORE - 1, 0)}"
    return Listed(read_rationales(db, caller.project_id, job_id, wanted, limit=ROWS, after=around), around)


def _shown(
    request: Request, caller: Caller, db: Engine, job_id: str, listed: Listed, chosen: str | None
) -> dict[str, Any]:
    """What _rationale.html is made of."""
    place = {"place": url("jobs", job_id, "rationales"), "job_id": job_id, "listed": listed}
    if chosen is None:
        return {**place, "one": None}
    one = read_rationale(db, caller.project_id, job_id, chosen)
    with reading(db) as session:
        layout = task_of(get_job(session, caller.project_id, job_id).config.kind).layout
    rows, number = [row_id_of(row.id) for row in listed.found.data], row_id_of(chosen)
    before, behind = [row for row in rows if row < number], [row for row in rows if row > number]
    query = {"after": listed.after}
    return {
        **place,
        "one": one,
        "text": answered(one.text, one.span, completion_of(one, layout), put_in(one.tools)),
        "prompts": prompts_of(one, layout),
        "reading": _reading(one),
        "formal": layout.working is not None,
        "why": decision_words(one),
        "verdict_words": VERDICTS,
        "route_words": ROUTES,
        "finish_words": FINISHES,
        "history": read_overrides(db, caller.project_id, job_id, chosen).data,
        "made": None,
        "previous": _link(request, job_id, rationale=f"rat_{before[-1]}", **query) if before else None,
        "next": _link(request, job_id, rationale=f"rat_{behind[0]}", **query) if behind else None,
        "next_page": None
        if behind or not listed.found.has_more
        else _link(request, job_id, rationale=None, after=listed.found.last_id),
        "sending": _link(request, job_id, chosen, "override", rationale=None, **query),
    }


@dataclass(frozen=True, slots=True)
class ReadPlace:
    """A sentence of a rationale, and the probability of the stated answer once it has been read."""

    text: str
    probability: float


def _reading(one: RationaleDetailOut) -> list[ReadPlace]:
    """Sentence by sentence; the first one is empty: behind no rationale at all."""
    places = one.reading or []
    starts = [0, *(place.end for place in places)]
    return [
        ReadPlace(one.text[start : place.end].strip(), min(1.0, exp(place.logprob)))
        for start, place in zip(starts, places, strict=False)
    ]


def _link(request: Request, job_id: str, *parts: str, **changes: object) -> str:
    """The list's URL with its filters, some of them changed: of a form that was sent too."""
    query = with_query(request, **changes).partition("?")[2]
    return f"{url('jobs', job_id, 'rationales', *parts)}{'?' * bool(query)}{query}"
