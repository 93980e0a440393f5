"""Pages for datasets: the list, and the contents of one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter, Viewer
from app.data.base_models import read_models
from app.data.dataset_statistics import read_statistics
from app.data.datasets import (
    archive_dataset,
    delete_dataset,
    read_dataset,
    read_datasets,
    read_examples,
)
from app.data.prompt_sets import read_prompt_sets
from app.http.dependencies import Db, OfferedModels
from app.http.router import page_router
from app.http.schemas import After
from star_engine.tasks.examples import Split
from star_engine.tasks.starting.worked import seed_prompts

router = page_router("/datasets")
ROWS = 50
EXAMPLES = 25
CHOICES = 100  # of each that a page lets one choose from
Id = Annotated[str | None, Query(max_length=200)]


@router.get("")
def list_(
    request: Request,
    caller: Viewer,
    db: Db,
    name: str | None = None,
    archived: bool = False,
    after: After = None,
) -> Response:
    found = read_datasets(
        db, caller.project_id, name=name or None, archived=archived, after=after, limit=ROWS
    )
    return page(request, "datasets.html", caller, found=found, name=name, archived=archived)


@router.post("/{dataset_id}/delete")
def delete(caller: Submitter, db: Db, dataset_id: str) -> Response:
    delete_dataset(db, caller.project_id, dataset_id)
    return RedirectResponse(url("datasets"), status_code=303)


@router.post("/{dataset_id}/archive")
def archive(caller: Submitter, db: Db, dataset_id: str, archived: bool = True) -> Response:
    archive_dataset(db, caller.project_id, dataset_id, archived=archived)
    return RedirectResponse(url("datasets", dataset_id), status_code=303)


@router.get("/{dataset_id}")
def show(
    request: Request,
    caller: Viewer,
    db: Db,
    offered: OfferedModels,
    dataset_id: str,
    split: Split | None = None,
    model: Id = None,
    prompt_set: Id = None,
    after: After = None,
) -> Response:
    """Show a dataset. With a model, lengths are counted in its tokens; with a prompt set, its
    overlap is shown.
    """
    dataset = read_dataset(db, caller.project_id, dataset_id)
    return page(
        request,
        "dataset.html",
        caller,
        dataset=dataset,
        drafts=seed_prompts(dataset.kind) is not None,
        seen=read_statistics(
            db,
            caller.project_id,
            offered,
            dataset_id,
            model=model or None,
            prompt_set=prompt_set or None,
        ),
        examples=read_examples(db, caller.project_id, dataset_id, split=split, after=after, limit=EXAMPLES),
        split=split,
        models=read_models(db, offered, limit=CHOICES).data,
        prompt_sets=read_prompt_sets(db, caller.project_id, limit=CHOICES).data,
    )
