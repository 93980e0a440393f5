"""Models that jobs may start from, and those that can be asked."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from app.data.base_models import ModelKind, ModelOut, read_askable, read_model
from app.http.auth import Reader
from app.http.dependencies import Db, OfferedModels
from app.http.router import api_router
from app.http.schemas import After, Limit, Page

router = api_router("models", "/v1/models")

Kind = Annotated[ModelKind | None, Query(description="Left out: base models, then adapters.")]


@router.get("", summary="List the models that can be asked")
def list_(
    caller: Reader, db: Db, offered: OfferedModels, kind: Kind = None, limit: Limit = 20, after: After = None
) -> Page[ModelOut]:
    """Base models, from which jobs start, and the project's adapters, the newest first."""
    return read_askable(db, caller.project_id, offered, kind=kind, limit=limit, after=after)


@router.get("/{model_id:path}", summary="Get a model")
def get(caller: Reader, db: Db, offered: OfferedModels, model_id: str) -> ModelOut:
    """By its id; an adapter by its aliases too."""
    return read_model(db, caller.project_id, offered, model_id)
