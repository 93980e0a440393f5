"""Prompt sets: the handful of few-shot examples with hand-written rationales."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Response
from pydantic import Field, model_validator

from app.database import reading, transaction
from app.errors import FieldError, Invalid
from app.http.auth import Reader, Submitter
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import (
    After,
    In,
    JsonObject,
    Limit,
    Name,
    NameFilter,
    Page,
    Resource,
    Text,
    already,
    page,
)
from app.ledger.data.prompt_sets import get_prompt_set, list_prompt_sets, record_prompt_set
from app.tables.data import PromptSet
from star_engine.data.prompt_sets import read_prompt_set
from star_engine.data.readers import BadRows
from star_engine.tasks.kind import Kind

router = api_router("prompt sets", "/v1/prompt-sets")


class PromptSetIn(In):
    """Examples as objects, or the few-shot prompt itself as the papers publish it."""

    name: Name = "prompt set"
    kind: Kind
    examples: list[JsonObject] | None = Field(default=None, max_length=1000)
    text: Text | None = None

    @model_validator(mode="after")
    def _one_source(self) -> PromptSetIn:
        if (self.examples is None) == (self.text is None):
            raise ValueError("Give either `examples` or `text`")
        return self


class PromptSetOut(Resource):
    object: Literal["prompt_set"] = "prompt_set"
    name: str
    version: int  # counts up among those of one name
    kind: Kind
    sha256: str
    examples: list[dict[str, Any]]


@router.post("", status_code=201, responses=already(PromptSetOut), summary="Create a prompt set")
def create(caller: Submitter, db: Db, sent: PromptSetIn, response: Response) -> PromptSetOut:
    """Each example's rationale must lead to its own answer. The same again is answered with 200."""
    try:
        examples = {"kind": sent.kind, "examples": sent.examples}
        prompt_set = read_prompt_set(examples if sent.text is None else sent.text, sent.kind)
    except BadRows as bad:
        errors = tuple(FieldError(e.field, e.reason, e.mend, e.line or None) for e in bad.errors)
        raise Invalid("The prompt set cannot be used.", code="invalid_prompt_set", errors=errors) from bad
    with transaction(db) as session:
        row, new = record_prompt_set(session, caller.project_id, sent.name, prompt_set)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/prompt-sets/{row.id}"
    return _out(row)


@router.get("", summary="List prompt sets, newest first")
def list_(
    caller: Reader, db: Db, name: NameFilter = None, limit: Limit = 20, after: After = None
) -> Page[PromptSetOut]:
    with reading(db) as session:
        found = list_prompt_sets(session, caller.project_id, name=name, after=after, limit=limit + 1)
    return page([_out(prompt_set) for prompt_set in found], limit)


@router.get("/{prompt_set_id}", summary="Get a prompt set")
def get(caller: Reader, db: Db, prompt_set_id: str) -> PromptSetOut:
    with reading(db) as session:
        return _out(get_prompt_set(session, caller.project_id, prompt_set_id))


def _out(row: PromptSet) -> PromptSetOut:
    return PromptSetOut(
        id=row.id,
        created_at=row.created_at,
        name=row.name,
        version=row.version,
        kind=Kind(row.kind),
        sha256=row.sha256,
        examples=row.examples,
    )
