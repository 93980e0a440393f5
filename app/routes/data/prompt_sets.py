"""Prompt sets: the handful of few-shot examples with hand-written rationales."""

from __future__ import annotations

from fastapi import Response

from app.data.prompt_sets import (
    PromptSetIn,
    PromptSetOut,
    create_prompt_set,
    delete_prompt_set,
    read_prompt_set,
    read_prompt_sets,
)
from app.http.auth import Reader, Submitter
from app.http.dependencies import Db
from app.http.idempotency import MadeOnce, made_once
from app.http.router import api_router
from app.http.schemas import HAS_DEPENDENTS, After, Limit, NameFilter, Page, already

router = api_router("prompt sets", "/v1/prompt-sets")


@router.post("", status_code=201, responses=already(PromptSetOut), summary="Create a prompt set")
def create(caller: Submitter, db: Db, once: MadeOnce, sent: PromptSetIn, response: Response) -> PromptSetOut:
    """Create a prompt set. Each rationale must lead to its answer. An equal prompt set is
    returned with 200.
    """

    def make() -> PromptSetOut:
        made, new = create_prompt_set(db, caller.project_id, sent, once)
        response.status_code = 201 if new else 200
        return made

    answer = made_once(db, once, response, make, lambda one: read_prompt_set(db, caller.project_id, one))
    response.headers["Location"] = f"/v1/prompt-sets/{answer.id}"
    return answer


@router.get("", summary="List prompt sets, newest first")
def list_(
    caller: Reader, db: Db, name: NameFilter = None, limit: Limit = 20, after: After = None
) -> Page[PromptSetOut]:
    """Those that somebody has made: not what the platform records for a draft, or for a job on documents."""
    return read_prompt_sets(db, caller.project_id, name=name, after=after, limit=limit)


@router.delete(
    "/{prompt_set_id}", status_code=204, responses=HAS_DEPENDENTS, summary="Delete a prompt set for good"
)
def delete(caller: Submitter, db: Db, prompt_set_id: str) -> None:
    """Not while a job uses it: the answer (409) names them in `dependents`."""
    delete_prompt_set(db, caller.project_id, prompt_set_id)


@router.get("/{prompt_set_id}", summary="Get a prompt set")
def get(caller: Reader, db: Db, prompt_set_id: str) -> PromptSetOut:
    return read_prompt_set(db, caller.project_id, prompt_set_id)
