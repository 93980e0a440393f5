"""Base models of the deployment, for operators: what `star models add` and `star models check` do."""

from __future__ import annotations

from fastapi import Response

from app.http.auth import Operator
from app.http.dependencies import Db, OfferedModels
from app.http.idempotency import MadeOnce, made_once
from app.http.router import api_router
from app.http.schemas import After, Limit, Page, already
from app.platform.base_models import (
    AddBaseModelIn,
    BaseModelTaskOut,
    CheckBaseModelIn,
    add_base_model,
    check_base_model,
    read_task,
    read_tasks,
)

router = api_router("base_models", "/v1/base-models")


@router.post("", status_code=201, responses=already(BaseModelTaskOut), summary="Add a base model")
def add(
    caller: Operator, db: Db, offered: OfferedModels, once: MadeOnce, sent: AddBaseModelIn, response: Response
) -> BaseModelTaskOut:
    """Ask a worker that may fetch (STAR_MODELS_FETCH) to download or read it, to refuse pickle and code of
    its own, to pin its files, to let it write one token, and to add it to the allow-list.

    It is offered a few seconds after the task has succeeded, where the API reads the worker's allow-list.
    """
    return made_once(
        db, once, response, lambda: add_base_model(db, offered, sent, once), lambda one: read_task(db, one)
    )


@router.post("/check", status_code=201, responses=already(BaseModelTaskOut), summary="Check a base model")
def check(
    caller: Operator,
    db: Db,
    offered: OfferedModels,
    once: MadeOnce,
    sent: CheckBaseModelIn,
    response: Response,
) -> BaseModelTaskOut:
    """Ask a worker that may fetch whether the model is better than guessing at a few questions of a dataset
    of the caller's project.
    """
    return made_once(
        db,
        once,
        response,
        lambda: check_base_model(db, caller.project_id, offered, sent, once),
        lambda one: read_task(db, one),
    )


@router.get("/tasks", summary="List what was asked of base models, newest first")
def tasks(caller: Operator, db: Db, limit: Limit = 20, after: After = None) -> Page[BaseModelTaskOut]:
    """Of all projects' operators."""
    return read_tasks(db, limit=limit, after=after)
