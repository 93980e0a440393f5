"""Base models that jobs may start from."""

from __future__ import annotations

from app.data.base_models import ModelOut, read_model, read_models
from app.http.auth import Reader
from app.http.dependencies import Db, OfferedModels
from app.http.router import api_router
from app.http.schemas import After, Limit, Page

router = api_router("models", "/v1/models")


@router.get("", summary="List the base models")
def list_(
    caller: Reader, db: Db, offered: OfferedModels, limit: Limit = 20, after: After = None
) -> Page[ModelOut]:
    return read_models(db, offered, limit=limit, after=after)


@router.get("/{model_id:path}", summary="Get a base model")
def get(caller: Reader, db: Db, offered: OfferedModels, model_id: str) -> ModelOut:
    return read_model(db, offered, model_id)
