"""Models as they are shown: base models, and the adapters that can be asked by the same API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import reading
from app.errors import NotFound
from app.http.schemas import Page, Resource, page
from app.ledger.data.base_models import Requires, get_model, list_models
from app.ledger.data.chat_templates import default_layout
from app.ledger.jobs.facts import best_iteration, best_of
from app.ledger.results.adapters import (
    get_adapter,
    list_project_adapters,
    names_adapter,
    published_files,
)
from app.tables.data import Model
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from star_engine.adapters.roles import AdapterRole

ModelKind = Literal["base", "adapter"]
ADAPTER = "adp_"


class ModelOut(Resource):
    object: Literal["model"] = "model"
    kind: Annotated[ModelKind, Field(description="An adapter's files are its own, without its base's.")]
    revision: str | None
    repository: Annotated[
        str | None,
        Field(
            description="ORG/NAME of the hub it came from: adapters name it, at `revision`, as their base."
        ),
    ]
    files: dict[str, str]  # file name to SHA-256
    context_length: int
    license: str | None
    created: int  # as OpenAI's client reads it: seconds since 1970
    owned_by: Literal["star"] = "star"
    layout: Annotated[
        Literal["completion", "chat"],
        Field(
            description="Of jobs that name none: chat where it has a chat template and is no base model. Of "
            "an adapter: its job's."
        ),
    ]
    trained_as: Annotated[
        str | None, Field(description="Of a quantized model: the one that adapters are trained on.")
    ] = None
    requires: Requires  # workers that have less are not given its steps
    base_model: Annotated[str | None, Field(description="Of an adapter.")] = None
    job_id: Annotated[str | None, Field(description="Of an adapter: the job that trained it.")] = None
    aliases: Annotated[
        tuple[str, ...],
        Field(description="Other names by which completions may ask it, such as `job_...:best`."),
    ] = ()


def read_models(
    db: Engine, offered: frozenset[str], *, limit: int, after: str | None = None
) -> Page[ModelOut]:
    """A page of the base models that are offered."""
    with reading(db) as session:
        found = list_models(session, offered, after=after, limit=limit + 1)
    return page([_out(model) for model in found], limit)


def read_askable(
    db: Engine,
    project_id: str,
    offered: frozenset[str],
    *,
    kind: ModelKind | None,
    limit: int,
    after: str | None = None,
) -> Page[ModelOut]:
    """A page of what completions may name: base models, then the project's adapters, the newest first."""
    among_adapters = after is not None and after.startswith(ADAPTER) and after not in offered
    found: list[ModelOut] = []
    with reading(db) as session:
        if kind != "adapter" and not among_adapters:
            found += [_out(one) for one in list_models(session, offered, after=after, limit=limit + 1)]
        if kind != "base" and len(found) <= limit:
            before = after if among_adapters else None
            found += _adapters(session, project_id, offered, before, limit + 1 - len(found))
    return page(found, limit)


def _adapters(
    session: Session, project_id: str, offered: frozenset[str], after: str | None, count: int
) -> Sequence[ModelOut]:
    rows = list_project_adapters(
        session, project_id, model=None, after=after, limit=count, askable_on=offered
    )
    best = best_of(session, [job.id for _, job in rows])
    return [_adapter_out(session, adapter, job, best.get(job.id)) for adapter, job in rows]


def read_model(db: Engine, project_id: str, offered: frozenset[str], model_id: str) -> ModelOut:
    """A base model, or an adapter of the project by any of its names. Raises NotFound."""
    with reading(db) as session:
        if not names_adapter(model_id) or model_id in offered:
            return _out(get_model(session, model_id, offered))
        adapter, job = get_adapter(session, project_id, model_id)
        askable = adapter.role is AdapterRole.GENERATOR and adapter.deleted_at is None
        if not askable or job.model_id not in offered:
            raise NotFound(f"There is no model {model_id!r}.")
        return _adapter_out(session, adapter, job, best_iteration(session, job))


def _out(model: Model) -> ModelOut:
    """Return the model as JSON without its location, which only the operator may know."""
    return ModelOut(
        id=model.id,
        kind="base",
        created_at=model.created_at,
        created=int(model.created_at.timestamp()),
        revision=model.revision,
        repository=model.repository,
        files=model.files,
        context_length=model.context_length,
        license=model.license,
        layout=default_layout(model),
        trained_as=model.trained_as,
        requires=_requires(model),
    )


def _adapter_out(session: Session, adapter: Adapter, job: Job, best: Mapping[str, Any] | None) -> ModelOut:
    base = session.get_one(Model, job.model_id)
    aliases = [f"{job.id}:{adapter.iteration_number}"]
    if best is not None and best["adapter_id"] == adapter.id:
        aliases.insert(0, f"{job.id}:best")
    return ModelOut(
        id=adapter.id,
        kind="adapter",
        created_at=adapter.created_at,
        created=int(adapter.created_at.timestamp()),
        revision=None,
        repository=None,
        files={entry["path"]: entry["sha256"] for entry in published_files(adapter)},
        context_length=base.context_length,
        license=base.license,
        layout="chat" if job.config.is_chat else "completion",
        requires=_requires(base),
        base_model=base.id,
        job_id=job.id,
        aliases=tuple(aliases),
    )


def _requires(model: Model) -> Requires:
    return Requires(gpus=model.gpus, gpu_memory_gib=model.gpu_memory_gib, gpu_class=model.gpu_class)
