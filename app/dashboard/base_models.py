"""Base models of the deployment, for operators: to add one, to check one, and what came of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import page, url
from app.dashboard.session import Operator
from app.data.base_models import read_models
from app.data.datasets import read_datasets
from app.data.prompt_sets import read_prompt_sets
from app.http.dependencies import Db, OfferedModels
from app.http.router import page_router
from app.http.schemas import After
from app.platform.base_models import (
    AddBaseModelIn,
    CheckBaseModelIn,
    add_base_model,
    check_base_model,
    read_tasks,
)

router = page_router("/platform/base-models")
ROWS = 20
Short = Annotated[str, Form(max_length=200)]


@router.get("")
def list_(
    request: Request, caller: Operator, db: Db, offered: OfferedModels, after: After = None
) -> Response:
    return page(
        request,
        "base_models.html",
        caller,
        tasks=read_tasks(db, limit=ROWS, after=after),
        models=read_models(db, offered, limit=100).data,
        datasets=read_datasets(db, caller.project_id, limit=100).data,
        prompt_sets=read_prompt_sets(db, caller.project_id, limit=100).data,
    )


@router.post("")
def add(
    caller: Operator,
    db: Db,
    offered: OfferedModels,
    model: Annotated[str, Form(min_length=1, max_length=1000)],
    id_: Annotated[str, Form(alias="id", max_length=200)] = "",
    license_: Annotated[str, Form(alias="license", max_length=200)] = "",
) -> Response:
    sent = AddBaseModelIn(model=model.strip(), id=id_.strip() or None, license=license_.strip() or None)
    add_base_model(db, offered, sent)
    return RedirectResponse(url("platform", "base-models"), status_code=303)


@router.post("/check")
def check(
    caller: Operator, db: Db, offered: OfferedModels, model: Short, dataset: Short, prompt_set: Short
) -> Response:
    sent = CheckBaseModelIn(model=model, dataset=dataset, prompt_set=prompt_set)
    check_base_model(db, caller.project_id, offered, sent)
    return RedirectResponse(url("platform", "base-models"), status_code=303)
