"""Datasets: what is there, what it holds, and the report on an upload that was refused."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter, Viewer
from app.http.dependencies import Config, Db, OfferedModels, UploadSlots
from app.http.router import page_router
from app.http.schemas import After, Name
from app.routes import dataset_statistics, datasets, models, prompt_sets
from star_engine.tasks.examples import Split
from star_engine.tasks.kind import Kind

router = page_router("/datasets")
ROWS = 50
EXAMPLES = 25
Id = Annotated[str | None, Query(max_length=200)]


@router.get("")
def list_(request: Request, caller: Viewer, db: Db, name: str | None = None, after: After = None) -> Response:
    found = datasets.list_(caller, db, name or None, ROWS, after)
    return page(request, "datasets.html", caller, found=found, name=name, kinds=list(Kind))


@router.post("")
async def upload(
    request: Request,
    caller: Submitter,
    db: Db,
    settings: Config,
    slots: UploadSlots,
    kind: Kind,
    name: Annotated[Name, Query()] = "dataset",
    validation: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Response:
    """The file alone is the form, the rest is in the query, as app.js sends it. Refusals are fragments."""
    made = await datasets.upload(
        caller, db, settings, slots, request, Response(), kind, name, validation, 0, None, None
    )
    return Response(status_code=204, headers={"HX-Redirect": url("datasets", made.id)})


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
    """With a model, lengths in its tokens; with a prompt set, what of the dataset that one shows."""
    return page(
        request,
        "dataset.html",
        caller,
        dataset=datasets.get(caller, db, dataset_id),
        seen=dataset_statistics.statistics(
            caller, db, offered, dataset_id, model or None, prompt_set or None
        ),
        examples=datasets.examples(caller, db, dataset_id, split, EXAMPLES, after),
        split=split,
        models=models.list_(caller, db, offered, 100, None).data,
        prompt_sets=prompt_sets.list_(caller, db, None, 100, None).data,
    )
