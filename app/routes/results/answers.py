"""What a job's models answered to held-out examples."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, LongLimit, Page
from app.results.answers import AnswerOut, AnswersWanted, read_answers

router = api_router("answers", "/v1/jobs/{job_id}")


@router.get("/answers", summary="List the answers to held-out examples, by iteration, mode and example")
def list_(
    caller: Reader,
    db: Db,
    job_id: str,
    wanted: Annotated[AnswersWanted, Depends()],
    limit: LongLimit = 20,
    after: After = None,
) -> Page[AnswerOut]:
    """Every text behind the accuracies of the baselines and of each iteration."""
    return read_answers(db, caller.project_id, job_id, wanted, limit=limit, after=after)
