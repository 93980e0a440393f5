"""Search over all texts of a project."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, Limit
from app.results.quality.search import SearchOut, SearchWanted, search

router = api_router("search", "/v1/search")


@router.get("", summary="Find words in the texts of all jobs, newest first")
def list_(
    caller: Reader,
    db: Db,
    wanted: Annotated[SearchWanted, Depends()],
    limit: Limit = 20,
    after: After = None,
) -> SearchOut:
    """Find words in rationales, in answers to held-out questions and in questions.

    Jobs and datasets are gone through from the newest; of a job the held-out answers come before the
    rationales. A page looks for about half a second: it may be empty while `has_more` is true. Continue
    after its `last_id`.
    """
    return search(db, caller.project_id, wanted, limit=limit, after=after)
