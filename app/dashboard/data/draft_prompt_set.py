"""A prompt set drafted by the base model: its texts come, a person edits and accepts them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from app.dashboard.data.write_prompt_set import written_form
from app.dashboard.jobs.form import checked
from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter, Viewer
from app.data.base_models import read_models
from app.data.datasets import read_dataset, read_datasets
from app.database import new_id
from app.errors import Problem
from app.http.dependencies import Config, Db, JobSlots, OfferedModels
from app.http.router import page_router
from app.jobs.change import cancel_job
from app.ledger.platform.keys import Caller, Scope
from app.results.quality.prompt_drafts import (
    PromptDraftIn,
    PromptDraftOut,
    create_draft,
    read_prompt_draft,
    wait_for_draft,
)
from star_engine.tasks.starting.worked import seed_prompts

router = page_router("/prompt-sets/drafts")
CHOICES = 100  # datasets and models to choose from
DRAFT_SECONDS = 25.0  # that a page waits before it asks again: proxies cut at 30 or 60
Id = Annotated[str, Form(max_length=200)]


@router.get("/new")
def form(
    request: Request,
    caller: Submitter,
    db: Db,
    offered: OfferedModels,
    dataset: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    return _form(request, caller, db, offered, dataset)


@router.post("/new")
async def begin(
    request: Request,
    caller: Submitter,
    db: Db,
    settings: Config,
    offered: OfferedModels,
    slots: JobSlots,
    dataset: Id,
    model: Id,
    rows: Annotated[int, Form(ge=1, le=10)] = 5,
    key: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """`key` is the form's own: a button that is pressed twice makes one draft."""
    try:
        sent = checked(PromptDraftIn, {"dataset": dataset, "model": model, "rows": rows})
        made, _ = await slots.run(
            caller.project_id, create_draft, db, caller, offered, sent, settings, key or None
        )
    except Problem as refused:
        return await run_in_threadpool(_form, request, caller, db, offered, dataset, refused)
    return RedirectResponse(url("prompt-sets", "drafts", made.id), status_code=303)


@router.get("/{draft_id}")
async def show(request: Request, caller: Viewer, db: Db, draft_id: str) -> Response:
    """Waits for its end: htmx asks for this part again when it comes without. In the end it is a form."""
    partial = request.headers.get("hx-request") is not None
    found = await wait_for_draft(db, caller.project_id, draft_id, DRAFT_SECONDS if partial else 0)
    if found.is_terminal and found.status == "succeeded" and caller.may(Scope.SUBMIT):
        if partial:
            return Response(status_code=204, headers={"HX-Redirect": url("prompt-sets", "drafts", draft_id)})
        return await run_in_threadpool(_drafted, request, caller, db, found)
    return page(request, "_prompt_draft.html" if partial else "prompt_draft.html", caller, draft=found)


@router.post("/{draft_id}/cancel")
def cancel(caller: Submitter, db: Db, draft_id: str) -> Response:
    if not read_prompt_draft(db, caller.project_id, draft_id).is_terminal:
        cancel_job(db, caller.project_id, draft_id, baselines=False)
    return RedirectResponse(url("prompt-sets", "drafts", draft_id), status_code=303)


def _form(
    request: Request,
    caller: Caller,
    db: Db,
    offered: OfferedModels,
    dataset: str | None,
    problem: Problem | None = None,
) -> Response:
    datasets = read_datasets(db, caller.project_id, limit=CHOICES).data
    return page(
        request,
        "prompt_draft_new.html",
        caller,
        status=problem.status if problem else 200,
        datasets=[one for one in datasets if seed_prompts(one.kind) is not None],
        models=read_models(db, offered, limit=CHOICES).data,
        chosen=dataset,
        key=new_id("form"),
        problem=problem,
    )


def _drafted(request: Request, caller: Caller, db: Db, draft: PromptDraftOut) -> Response:
    """The form in which prompt sets are written, filled with what the model has written."""
    rows = [
        {
            "question": one.question,
            "choices": "\n".join(one.choices or ()),
            "rationale": one.rationale,
            "answer": one.answer,
            "group": "",  # shown to every question: a few drafts do not cover every group
        }
        for one in draft.examples
    ]
    name = f"{read_dataset(db, caller.project_id, draft.dataset).name:.180}, drafted"
    sent = {"name": name, "kind": draft.kind, "examples": rows, "dataset": draft.dataset}
    return written_form(request, caller, sent, drafted=True)
