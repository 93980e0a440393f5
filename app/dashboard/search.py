"""Search over the texts of all jobs of the project."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from app.dashboard.rendering import page, url
from app.dashboard.results.answers import MODES
from app.dashboard.results.segments import Segment, marked_all
from app.dashboard.results.verdict_words import VERDICTS
from app.dashboard.session import Viewer
from app.errors import Invalid
from app.http.dependencies import Db
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.read import read_jobs
from app.ledger.jobs.lists import JobFilter
from app.ledger.jobs.search import FoundIn
from app.results.quality.search import SearchHitOut, SearchWanted, Verdict, search
from star_engine.evaluation.accuracy import EvaluationMode

router = page_router("/search")
ROWS = 25
JOBS = 50  # newest ones that can be chosen from
KINDS = {
    FoundIn.RATIONALE: "rationales",
    FoundIn.ANSWER: "held-out answers",
    FoundIn.QUESTION: "questions",
}


@router.get("")
def find(
    request: Request,
    caller: Viewer,
    db: Db,
    text: Annotated[str, Query(max_length=500)] = "",
    found_in: FoundIn | None = None,
    verdict: Verdict | None = None,
    job: Annotated[str | None, Query(max_length=100)] = None,
    after: After = None,
) -> Response:
    """Filters are those of GET /v1/search; without a text the page asks for one."""
    wanted = SearchWanted(text=text, found_in=found_in, verdict=verdict, job=job)
    shown: dict[str, Any] = {"found": None, "problem": None}
    try:
        if text.strip():
            shown["found"] = search(db, caller.project_id, wanted, limit=ROWS, after=after)
    except Invalid as problem:
        shown["problem"] = problem
    jobs = read_jobs(db, caller.project_id, JobFilter(), limit=JOBS)
    return page(
        request,
        "search.html",
        caller,
        wanted=wanted,
        kinds=KINDS,
        verdicts=[(name, name) for name in VERDICTS],
        jobs={one.id: one.name for one in jobs.data},
        link=_link,
        marked=_marked,
        where=_where,
        status=422 if shown["problem"] else 200,
        **shown,
    )


def _link(hit: SearchHitOut) -> str:
    """Where the text is shown whole, with its verdict."""
    if hit.job is None:
        return url("datasets", hit.dataset)
    if hit.found_in is FoundIn.RATIONALE:
        return url("jobs", hit.job, "rationales", rationale=hit.id)
    if hit.found_in is FoundIn.QUESTION and hit.split == "train":
        return url("jobs", hit.job, "examples", hit.example)
    mode, _, dataset = (hit.mode or "").partition("/")
    answers = url(
        "jobs", hit.job, "answers", iteration=hit.iteration, mode=mode, dataset=dataset, example=hit.example
    )
    return answers if hit.mode is None else f"{answers}#{hit.id}"


def _marked(hit: SearchHitOut) -> list[Segment]:
    return marked_all(hit.snippet, [(start, end, "found") for start, end in hit.marks])


def _where(hit: SearchHitOut) -> str:
    """Which text of its job it is."""
    if hit.found_in is FoundIn.QUESTION:
        return "asked in training" if hit.split == "train" else "held out"
    if hit.iteration:
        return f"iteration {hit.iteration}"
    mode = (hit.mode or "").partition("/")[0]
    return MODES.get(EvaluationMode(mode), mode) if mode else "before the first iteration"
