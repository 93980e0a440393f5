"""Blind studies of rationales."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from app.http.auth import Reader, Submitter
from app.http.dependencies import Db
from app.http.idempotency import MadeOnce, made_once
from app.http.router import api_router
from app.http.schemas import After, Limit, Page
from app.results.quality.studies import (
    RatingIn,
    RatingOut,
    StudyIn,
    StudyOut,
    TurnOut,
    create_study,
    delete_study,
    rate_pair,
    read_rating,
    read_studies,
    read_study,
    read_turn,
)

router = api_router("rationales", "/v1")


@router.post("/jobs/{job_id}/studies", status_code=201, summary="Create a blind study of rationales")
def create(
    caller: Submitter, db: Db, once: MadeOnce, response: Response, job_id: str, sent: StudyIn
) -> StudyOut:
    """Pair what an iteration wrote to held-out questions with what few-shot prompting and people wrote.

    Raters see two rationales at a time and not who wrote them; order and sides follow from the seed.
    """
    made = made_once(
        db,
        once,
        response,
        lambda: create_study(db, caller, job_id, sent, once),
        lambda name: read_study(db, caller.project_id, name),
    )
    response.headers["Location"] = f"/v1/studies/{made.id}"
    return made


@router.get("/studies", summary="List studies, newest first")
def list_(
    caller: Reader,
    db: Db,
    job: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = 20,
    after: After = None,
) -> Page[StudyOut]:
    return read_studies(db, caller.project_id, job=job, limit=limit, after=after)


@router.get("/studies/{study_id}", summary="Get a study and what its raters prefer")
def get(caller: Reader, db: Db, study_id: str) -> StudyOut:
    """Win rates with exact intervals over questions, and how far raters agree (percent, Fleiss' kappa)."""
    return read_study(db, caller.project_id, study_id)


@router.delete("/studies/{study_id}", status_code=204, summary="Delete a study with its ratings")
def delete(caller: Submitter, db: Db, study_id: str) -> None:
    delete_study(db, caller.project_id, study_id)


@router.get("/studies/{study_id}/next", summary="Get the pair that a rater sees next")
def next_(
    caller: Reader,
    db: Db,
    study_id: str,
    rater: Annotated[str | None, Query(max_length=200, description="Left out: whose key it is.")] = None,
) -> TurnOut:
    return read_turn(db, caller, study_id, rater)


@router.post("/studies/{study_id}/ratings", status_code=201, summary="Rate a pair")
def rate(
    caller: Submitter, db: Db, once: MadeOnce, response: Response, study_id: str, sent: RatingIn
) -> RatingOut:
    """The newest rating of a rater of a pair counts."""
    return made_once(
        db,
        once,
        response,
        lambda: rate_pair(db, caller, study_id, sent, once),
        lambda name: read_rating(db, caller.project_id, study_id, name),
    )
