"""Base models as operators ask for them: added to the allow-list or checked, by a worker that may fetch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt
from sqlalchemy import Engine

from app.database import reading, transaction
from app.errors import Invalid
from app.http.idempotency import UNKEYED, Once
from app.http.schemas import In, MadeByOut, Page, Resource, Text, Timestamp, made_by, page
from app.ledger.data.base_models import get_model
from app.ledger.data.datasets import get_dataset
from app.ledger.data.examples import conversations
from app.ledger.data.prompt_sets import get_prompt_set
from app.ledger.platform import base_model_tasks as ledger
from app.tables.base_model_tasks import BaseModelTask
from app.tables.statuses import BaseModelTaskKind, BaseModelTaskStatus

Id = Annotated[Text, Field(max_length=200)]


class AddBaseModelIn(In):
    model: Annotated[
        Text,
        Field(max_length=1000, description="ORG/NAME[@REVISION] of the hub, or a folder of the worker."),
    ]
    id: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$",
            description="The name that jobs ask for; else ORG/NAME, or the folder's name.",
        ),
    ] = None
    license: Annotated[Text, Field(max_length=200)] | None = None
    context_length: Annotated[StrictInt, Field(ge=1, le=10**8)] | None = None


class CheckBaseModelIn(In):
    """Questions of the train split, asked greedily behind the prompt set's examples."""

    model: Id
    dataset: Id
    prompt_set: Id
    rows: Annotated[StrictInt, Field(ge=1, le=200)] = 20
    max_tokens: Annotated[StrictInt, Field(ge=1, le=4096)] = 256


class BaseModelTaskOut(Resource):
    object: Literal["base_model_task"] = "base_model_task"
    kind: BaseModelTaskKind
    status: Annotated[
        BaseModelTaskStatus,
        Field(description="`queued` waits for a worker that was started with STAR_MODELS_FETCH=true."),
    ]
    asked: dict[str, Any]
    progress: str | None
    error: Annotated[str | None, Field(description="Why it failed, and what would help.")]
    result: Annotated[
        dict[str, Any] | None,
        Field(description="Of an added model its entry; of a check right, asked, chance, p_value, diagnosis"),
    ]
    worker: str | None
    started_at: Timestamp | None
    ended_at: Timestamp | None
    created_by: MadeByOut | None


def add_base_model(
    db: Engine, offered: frozenset[str], sent: AddBaseModelIn, once: Once = UNKEYED
) -> BaseModelTaskOut:
    """Ask for it. Raises Invalid for a name that is taken."""
    if sent.id in offered or (sent.id is None and sent.model.partition("@")[0] in offered):
        reason = "A base model of this name is offered already."
        raise Invalid.for_field("id", reason, "Give the new one another id.", code="model_exists")
    return _create(db, BaseModelTaskKind.ADD, sent, once)


def check_base_model(
    db: Engine, project_id: str, offered: frozenset[str], sent: CheckBaseModelIn, once: Once = UNKEYED
) -> BaseModelTaskOut:
    """Ask for it. Raises NotFound, and Invalid where dataset and prompt set do not go together."""
    with reading(db) as session:
        get_model(session, sent.model, offered)
        dataset = get_dataset(session, project_id, sent.dataset)
        shown = get_prompt_set(session, project_id, sent.prompt_set)
        if dataset.kind != shown.kind:
            reason = f"The dataset is of kind {dataset.kind}, the prompt set of kind {shown.kind}."
            fix = "Use a dataset and a prompt set of one kind."
            raise Invalid.for_field("prompt_set", reason, fix, code="kinds_differ")
        if conversations(session, dataset):
            reason = "Its questions stand behind earlier turns, and a check asks in layout completion."
            fix = "Name a dataset of questions that stand alone."
            raise Invalid.for_field("dataset", reason, fix, code="needs_chat_layout")
    return _create(db, BaseModelTaskKind.CHECK, sent, once)


def read_task(db: Engine, task_id: str) -> BaseModelTaskOut:
    with reading(db) as session:
        return _out(ledger.get_task(session, task_id))


def read_tasks(db: Engine, *, limit: int, after: str | None = None) -> Page[BaseModelTaskOut]:
    """A page of them, newest first."""
    with reading(db) as session:
        found = ledger.list_tasks(session, after=after, limit=limit + 1)
    return page([_out(task) for task in found], limit)


def _create(db: Engine, kind: BaseModelTaskKind, sent: In, once: Once) -> BaseModelTaskOut:
    with transaction(db) as session:
        made = ledger.create_task(session, kind, sent.model_dump())
        once.remember(session, made.id)
        return _out(made)


def _out(task: BaseModelTask) -> BaseModelTaskOut:
    return BaseModelTaskOut(
        id=task.id,
        created_at=task.created_at,
        kind=task.kind,
        status=task.status,
        asked=task.asked,
        progress=task.progress,
        error=task.error,
        result=task.result,
        worker=task.worker,
        started_at=task.started_at,
        ended_at=task.ended_at,
        created_by=made_by(task.created_by, task.creator),
    )
