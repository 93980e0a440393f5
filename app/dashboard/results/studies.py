"""Blind studies of a job's rationales: making one, rating its pairs, and what the raters prefer."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter, Viewer
from app.errors import Invalid
from app.http.dependencies import Db
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.read import read_job
from app.results.quality.studies import (
    RatingIn,
    StudyIn,
    create_study,
    delete_study,
    rate_pair,
    read_studies,
    read_study,
    read_turn,
)
from star_engine.evaluation.preference import Arm, Choice

router = page_router("")
ROWS = 20
NAMES = {Arm.STAR: "the job's adapter", Arm.FEW_SHOT: "few-shot prompting", Arm.HUMAN: "people"}


@router.get("/jobs/{job_id}/studies")
def of_job(request: Request, caller: Viewer, db: Db, job_id: str, after: After = None) -> Response:
    found = read_studies(db, caller.project_id, job=job_id, limit=ROWS, after=after)
    job = read_job(db, caller.project_id, job_id)
    return page(request, "studies.html", caller, job=job, found=found, arms=NAMES)


@router.post("/jobs/{job_id}/studies")
def create(
    caller: Submitter,
    db: Db,
    job_id: str,
    arms: Annotated[list[Arm], Form()],
    questions: Annotated[int, Form(ge=1, le=500)] = 50,
    *,
    only_right: Annotated[bool, Form()] = False,
) -> Response:
    if len(set(arms)) < 2:
        raise Invalid.for_field("arms", "One arm has nothing to be compared with.", "Choose two or three.")
    sent = StudyIn(arms=tuple(arms), questions=questions, only_right=only_right)
    made = create_study(db, caller, job_id, sent)
    return RedirectResponse(url("studies", made.id), status_code=303)


@router.get("/studies/{study_id}")
def rate(
    request: Request,
    caller: Viewer,
    db: Db,
    study_id: str,
    rater: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The pair that comes next for whoever looks; `rater` is another name than the key's."""
    name = (rater or "").strip() or None
    study = read_study(db, caller.project_id, study_id)
    turn = read_turn(db, caller, study_id, name)
    job = read_job(db, caller.project_id, study.job)
    return page(request, "study.html", caller, study=study, turn=turn, rater=name, job=job, arms=NAMES)


@router.post("/studies/{study_id}/rate")
def record(
    caller: Submitter,
    db: Db,
    study_id: str,
    pair: Annotated[int, Form(ge=0)],
    choice: Annotated[Choice, Form()],
    rater: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    name = rater.strip() or None
    rate_pair(db, caller, study_id, RatingIn(pair=pair, choice=choice, rater=name))
    return RedirectResponse(url("studies", study_id, rater=name), status_code=303)


@router.post("/studies/{study_id}/delete")
def delete(caller: Submitter, db: Db, study_id: str) -> Response:
    job = read_study(db, caller.project_id, study_id).job
    delete_study(db, caller.project_id, study_id)
    return RedirectResponse(url("jobs", job, "studies"), status_code=303)
