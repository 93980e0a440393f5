"""Base models as they are shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Engine

from app.database import reading
from app.http.schemas import Page, Resource, page
from app.ledger.data.base_models import Requires, get_model, list_models
from app.ledger.data.chat_templates import default_layout
from app.tables.data import Model


class ModelOut(Resource):
    object: Literal["model"] = "model"
    revision: str | None
    files: dict[str, str]  # file name to SHA-256
    context_length: int
    license: str | None
    created: int  # as OpenAI's client reads it: seconds since 1970
    owned_by: Literal["star"] = "star"
    layout: Annotated[
        Literal["completion", "chat"],
        Field(description="Of jobs that name none: chat where it has a chat template and is no base model."),
    ]
    requires: Requires  # workers that have less are not given its steps


def read_models(
    db: Engine, offered: frozenset[str], *, limit: int, after: str | None = None
) -> Page[ModelOut]:
    """A page of the base models that are offered."""
    with reading(db) as session:
        found = list_models(session, offered, after=after, limit=limit + 1)
    return page([_out(model) for model in found], limit)


def read_model(db: Engine, offered: frozenset[str], model_id: str) -> ModelOut:
    with reading(db) as session:
        return _out(get_model(session, model_id, offered))


def _out(model: Model) -> ModelOut:
    """Return the model as JSON without its location, which only the operator may know."""
    return ModelOut(
        id=model.id,
        created_at=model.created_at,
        created=int(model.created_at.timestamp()),
        revision=model.revision,
        files=model.files,
        context_length=model.context_length,
        license=model.license,
        layout=default_layout(model),
        requires=Requires(gpus=model.gpus, gpu_memory_gib=model.gpu_memory_gib, gpu_class=model.gpu_class),
    )
