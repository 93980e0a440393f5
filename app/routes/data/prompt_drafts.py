"""Prompt sets drafted by the base model from rows of a dataset."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from app.http.auth import Reader, Submitter
from app.http.dependencies import Config, Db, JobSlots, OfferedModels
from app.http.idempotency import IdempotencyKey
from app.http.router import api_router
from app.results.quality.prompt_drafts import PromptDraftIn, PromptDraftOut, create_draft, wait_for_draft

router = api_router("prompt sets", "/v1/prompt-drafts")


@router.post("", status_code=202, summary="Let the base model draft a prompt set")
async def create(
    caller: Submitter,
    db: Db,
    settings: Config,
    offered: OfferedModels,
    slots: JobSlots,
    response: Response,
    sent: PromptDraftIn,
    idempotency_key: IdempotencyKey = None,
) -> PromptDraftOut:
    """The model answers a few train rows; where it is wrong, it is asked again with the answer as a hint, as
    in an iteration of a job. Wait with GET /v1/prompt-drafts/{id}?wait=30, edit the examples, and create a
    prompt set of those that you accept.
    """
    made, replayed = await slots.run(
        caller.project_id, create_draft, db, caller, offered, sent, settings, idempotency_key
    )
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = f"/v1/prompt-drafts/{made.id}"
    return made


@router.get("/{draft_id}", summary="Get a draft of a prompt set")
async def get(
    caller: Reader,
    db: Db,
    draft_id: str,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for its end.")] = 0,
) -> PromptDraftOut:
    return await wait_for_draft(db, caller.project_id, draft_id, wait)
