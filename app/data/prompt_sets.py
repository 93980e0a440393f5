"""Prompt sets as they are sent and shown."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator
from sqlalchemy import Engine

from app.database import reading, transaction
from app.errors import FieldError, Invalid
from app.http.idempotency import UNKEYED, Once
from app.http.schemas import In, JsonObject, MadeByOut, Name, Page, Resource, Text, made_by, page
from app.ledger.data.prompt_sets import as_prompt_set, get_prompt_set, list_prompt_sets, record_prompt_set
from app.ledger.deletion import mark
from app.tables.data import PromptSet
from star_engine.data.prompt_sets import prompt_set_warnings
from star_engine.data.prompt_sets import read_prompt_set as parse_prompt_set
from star_engine.data.row_errors import BadRows
from star_engine.tasks.examples import PromptSet as ParsedPromptSet
from star_engine.tasks.kind import Kind


class PromptSetIn(In):
    """Examples as objects (question, rationale, answer; or messages), or the few-shot prompt as published."""

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
    warnings: list[str]  # of examples that ask the same or contradict one another
    created_by: MadeByOut | None


def create_prompt_set(
    db: Engine, project_id: str, sent: PromptSetIn, once: Once = UNKEYED
) -> tuple[PromptSetOut, bool]:
    """The prompt set and whether it is new. Raises Invalid for a rationale that misses its answer."""
    prompt_set = check_prompt_set(sent)
    with transaction(db) as session:
        row, new = record_prompt_set(session, project_id, sent.name, prompt_set)
        once.remember(session, row.id)
    return prompt_set_out(row), new


def check_prompt_set(sent: PromptSetIn) -> ParsedPromptSet:
    """What `create_prompt_set` would record. Raises Invalid, whose errors name each example's number."""
    try:
        examples = {"kind": sent.kind, "examples": sent.examples}
        return parse_prompt_set(examples if sent.text is None else sent.text, sent.kind)
    except BadRows as bad:
        errors = tuple(FieldError(e.field, e.reason, e.fix, e.line or None) for e in bad.errors)
        raise Invalid("The prompt set cannot be used.", code="invalid_prompt_set", errors=errors) from bad


def read_prompt_sets(
    db: Engine, project_id: str, *, limit: int, name: str | None = None, after: str | None = None
) -> Page[PromptSetOut]:
    """A page of the project's prompt sets, newest first."""
    with reading(db) as session:
        found = list_prompt_sets(session, project_id, name=name, after=after, limit=limit + 1)
    return page([prompt_set_out(prompt_set) for prompt_set in found], limit)


def read_prompt_set(db: Engine, project_id: str, prompt_set_id: str) -> PromptSetOut:
    with reading(db) as session:
        return prompt_set_out(get_prompt_set(session, project_id, prompt_set_id))


def delete_prompt_set(db: Engine, project_id: str, prompt_set_id: str) -> None:
    """From then on it is not there. Raises Conflict where a job uses it."""
    with transaction(db) as session:
        mark.delete_prompt_set(session, get_prompt_set(session, project_id, prompt_set_id).id)


def prompt_set_out(row: PromptSet) -> PromptSetOut:
    return PromptSetOut(
        id=row.id,
        created_at=row.created_at,
        name=row.name,
        version=row.version,
        kind=row.kind,
        sha256=row.sha256,
        examples=row.examples,
        warnings=prompt_set_warnings(as_prompt_set(row)),
        created_by=made_by(row.created_by, row.creator),
    )
