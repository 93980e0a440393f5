"""Prompt sets: the worked examples, and what a model would be shown with them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter, Viewer
from app.data.base_models import read_models
from app.data.datasets import read_datasets, read_examples
from app.data.prompt_sets import delete_prompt_set, read_prompt_set, read_prompt_sets
from app.http.dependencies import Db, OfferedModels
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.prompt_preview import PreviewIn, preview_prompts
from star_engine.config.presets import PRESETS

router = page_router("/prompt-sets")
ROWS = 50
CHOICES = 100  # datasets and models to choose from


@router.get("")
def list_(request: Request, caller: Viewer, db: Db, name: str | None = None, after: After = None) -> Response:
    found = read_prompt_sets(db, caller.project_id, name=name or None, after=after, limit=ROWS)
    return page(request, "prompt_sets.html", caller, found=found, name=name)


@router.get("/{prompt_set_id}")
def show(
    request: Request,
    caller: Viewer,
    db: Db,
    offered: OfferedModels,
    prompt_set_id: str,
    dataset: Annotated[str | None, Query(max_length=200)] = None,
    example: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """`dataset` and `example`: of the preview that is filled in."""
    shown = read_prompt_set(db, caller.project_id, prompt_set_id)
    alike = [
        one for one in read_datasets(db, caller.project_id, limit=CHOICES).data if one.kind == shown.kind
    ]
    chosen = dataset or (alike[0].id if alike else None)
    if chosen is not None and example is None:
        first = read_examples(db, caller.project_id, chosen, limit=1).data
        example = first[0].id if first else None
    return page(
        request,
        "prompt_set.html",
        caller,
        prompt_set=shown,
        datasets=alike,
        models=read_models(db, offered, limit=CHOICES).data,
        presets=sorted(PRESETS),
        chosen=chosen,
        example=example,
    )


@router.post("/{prompt_set_id}/delete")
def delete(caller: Submitter, db: Db, prompt_set_id: str) -> Response:
    delete_prompt_set(db, caller.project_id, prompt_set_id)
    return RedirectResponse(url("prompt-sets"), status_code=303)


@router.post("/{prompt_set_id}/preview")
def preview(
    request: Request,
    caller: Viewer,
    db: Db,
    offered: OfferedModels,
    prompt_set_id: str,
    dataset: Annotated[str, Form(max_length=200)],
    example: Annotated[str, Form(max_length=200)],
    preset: Annotated[str, Form(max_length=200)] = "star",
    model: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """A fragment: the prompts of the first iteration and the training row, byte for byte."""
    asked = PreviewIn(dataset=dataset, example_id=example, preset=preset, model=model or None)
    shown = preview_prompts(db, caller.project_id, offered, prompt_set_id, asked)
    row = shown.training_row
    whole = row.prompt + row.completion
    spans = [(whole[span.start : span.end], span.trained) for span in row.spans]
    return page(request, "_preview.html", caller, preview=shown, spans=spans)
