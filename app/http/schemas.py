"""What all resources share on the wire: times, pages, the shape of an object and of an error."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)

FIRST_YEAR, END_YEAR = 1970, 9000
MAX_NESTING = 32
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
T = TypeVar("T")
D = TypeVar("D", bound=date)


def rfc3339(moment: datetime) -> str:
    """2026-01-31T12:00:00.123Z"""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def storable(value: T, depth: int = 0) -> T:
    """The value itself. ValueError for JSON that a database cannot keep."""
    if depth > MAX_NESTING:
        raise ValueError(f"JSON must not be nested deeper than {MAX_NESTING}")
    if isinstance(value, str) and _UNSTORABLE.search(value):
        raise ValueError("Text must not hold a NUL or half a character (a lone surrogate)")
    if isinstance(value, dict):
        for key, inner in value.items():
            storable(key, depth + 1)
            storable(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            storable(inner, depth + 1)
    return value


def _written_out(value: object) -> object:
    """A bare number would be read as seconds since 1970, which nobody meant."""
    if not (value is None or isinstance(value, date) or (isinstance(value, str) and "-" in value[1:])):
        raise ValueError("Write it out, such as 2026-01-31T12:00:00Z, or 2026-01-31 for a day")
    return value


def _in_range(value: D) -> D:
    """Near the first and the last year another time zone has no such moment, and no database the next one."""
    if not FIRST_YEAR <= value.year < END_YEAR:
        raise ValueError(f"Give a year from {FIRST_YEAR} to {END_YEAR - 1}")
    return value


# RFC 3339, in a request
Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_range)]
Day = Annotated[date, BeforeValidator(_written_out), AfterValidator(_in_range)]
Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]
Text = Annotated[str, AfterValidator(storable)]
JsonObject = Annotated[dict[str, Any], AfterValidator(storable)]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=200)]

MAX_METADATA = 16  # entries of one job
MetadataKey = Annotated[Text, Field(max_length=64)]
MetadataValue = Annotated[Text, Field(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MAX_METADATA)]

Limit = Annotated[int, Query(ge=1, le=100, description="Objects per page.")]
LongLimit = Annotated[int, Query(ge=1, le=1000, description="Objects per page.")]
After = Annotated[str | None, Query(max_length=250, description="The id of the last object seen.")]
OfProject = Annotated[str | None, Query(max_length=200, description="Another project; operators only.")]
NameFilter = Annotated[str | None, Query(max_length=200, description="Only the versions of this name.")]

ArchivedFilter = Annotated[bool, Query(description="The archived ones, in place of the others.")]


class In(BaseModel):
    """A request body: a field that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Item(BaseModel):
    """The fields that every object carries besides `object`, its type."""

    model_config = ConfigDict(frozen=True)

    id: str


class Resource(Item):
    created_at: Timestamp


SomeItem = TypeVar("SomeItem", bound=Item)


class MadeByOut(BaseModel):
    """The API key that made it, and its name then: of a personal key, the person's."""

    key: str
    name: str


def made_by(key: str | None, name: str | None) -> MadeByOut | None:
    """None for what was made before this was recorded, or by the platform."""
    return None if key is None else MadeByOut(key=key, name=name or "")


class Page(BaseModel, Generic[SomeItem]):
    """A slice of a list. Ask for the next one with `after` set to `last_id`."""

    object: Literal["list"] = "list"
    data: list[SomeItem]
    has_more: bool
    first_id: str | None
    last_id: str | None


def page(found: Sequence[SomeItem], limit: int) -> Page[SomeItem]:
    """A page of at most `limit` objects; `found` holds one more where there are more."""
    data = list(found[:limit])
    return Page(
        data=data,
        has_more=len(found) > limit,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
    )


def partial_page(found: Sequence[SomeItem], has_more: bool, last_id: str | None) -> Page[SomeItem]:
    """A page that may be empty although there is more: `last_id` is how far has been looked."""
    return Page(data=list(found), has_more=has_more, first_id=found[0].id if found else None, last_id=last_id)


class FieldErrorOut(BaseModel):
    field: str
    reason: str
    fix: Annotated[str, Field(description="What to change, in one or two sentences.")]
    mend: Annotated[str, Field(deprecated=True, description="The same as `fix`, which replaces it.")]
    line: int | None = None
    rows: Annotated[int, Field(description="Of an upload, that have this mistake; left out for one.")] = 1
    lines: Annotated[list[int], Field(description="The first of them, where there are several.")] = []


class ErrorOut(BaseModel):
    """The part that OpenAI clients read."""

    type: str
    code: str
    message: str
    param: str | None


class DependentOut(BaseModel):
    """An object that has to be deleted, or a job that has to be cancelled, first."""

    object: str
    id: str
    name: str
    reason: str


class ProblemOut(BaseModel):
    """RFC 9457 problem details. `errors` names each row or field at fault and how to fix it.

    `bad_rows`, of a refused upload, counts all of them, those beyond the limit of `errors` too. `dependents`,
    of a refused deletion, are what needs the object.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str | None
    errors: list[FieldErrorOut]
    bad_rows: int | None = None
    dependents: list[DependentOut] | None = None
    error: ErrorOut


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": description}
    for status, description in {
        400: "The request body does not match its content type.",
        401: "No valid API key was sent.",
        403: "The key lacks the scope, or the project's quota is used up.",
        404: "It does not exist, or belongs to another project.",
        409: "The object is not in a state that allows this.",
        413: "The body is too long.",
        422: "The request is understood and refused.",
        429: "The key asks too often.",
        503: "Something this server depends on is unavailable. Try again later.",
    }.items()
}


HAS_DEPENDENTS: dict[int | str, dict[str, Any]] = {
    409: {"description": "It is needed: `dependents` names by what.", "model": ProblemOut}
}


CHANGED: dict[int | str, dict[str, Any]] = {
    412: {"description": "It has changed since the version that If-Match names.", "model": ProblemOut}
}


def already(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The answer of an operation that found nothing left to do, for its `responses`."""
    return {200: {"model": model, "description": "Already in that state; returned unchanged."}}
