"""Base models that jobs may start from."""

from __future__ import annotations

from typing import Literal

from app.database import reading
from app.http.auth import Reader
from app.http.dependencies import Db, OfferedModels
from app.http.router import api_router
from app.http.schemas import After, Limit, Page, Resource, page
from app.ledger.data.base_models import Requires, get_model, list_models
from app.tables.data import Model

router = api_router("models", "/v1/models")


class ModelOut(Resource):
    object: Literal["model"] = "model"
    revision: str | None
    files: dict[str, str]  # file name to SHA-256
    context_length: int
    license: str | None
    created: int  # as OpenAI's client reads it: seconds since 1970
    owned_by: Literal["star"] = "star"
    requires: Requires  # workers that have less are not given its steps


@router.get("", summary="List the base models")
def list_(
    caller: Reader, db: Db, offered: OfferedModels, limit: Limit = 20, after: After = None
) -> Page[ModelOut]:
    with reading(db) as session:
        found = list_models(session, offered, after=after, limit=limit + 1)
    return page([_out(model) for model in found], limit)


@router.get("/{model_id:path}", summary="Get a base model")
def get(caller: Reader, db: Db, offered: OfferedModels, model_id: str) -> ModelOut:
    with reading(db) as session:
        return _out(get_model(session, model_id, offered))


def _out(model: Model) -> ModelOut:
    """Without its location: where files lie is the operator's own."""
    return ModelOut(
        id=model.id,
        created_at=model.created_at,
        created=int(model.created_at.timestamp()),
        revision=model.revision,
        files=model.files,
        context_length=model.context_length,
        license=model.license,
        requires=Requires(gpus=model.gpus, gpu_memory_gib=model.gpu_memory_gib, gpu_class=model.gpu_class),
    )
