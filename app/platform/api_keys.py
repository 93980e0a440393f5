"""API keys as they are asked for and shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, StrictInt
from sqlalchemy import Engine

from app.database import reading, transaction
from app.errors import Conflict, Forbidden
from app.http.idempotency import UNKEYED, Once
from app.http.schemas import In, Name, Page, Resource, Text, Timestamp, page
from app.ledger.platform.keys import Caller, Scope, find_key, issue_key, list_keys, revoke, rotate
from app.ledger.platform.projects import meant_project
from app.tables.platform import ApiKey

DAY = 86_400  # seconds
MAX_LIFETIME = 3650 * DAY
MAX_GRACE = 30 * DAY


class ApiKeyIn(In):
    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))] = Field(default=[Scope.SUBMIT])
    expires_in_seconds: Annotated[StrictInt, Field(ge=60, le=MAX_LIFETIME)] | None = None  # None: never
    project: Annotated[Text, Field(max_length=200)] | None = None  # operators only; None: the caller's own


class RotationIn(In):
    grace_seconds: Annotated[StrictInt, Field(ge=0, le=MAX_GRACE)] = DAY  # for which the old key works on


class ApiKeyOut(Resource):
    """An API key without its secret, which is not stored."""

    object: Literal["api_key"] = "api_key"
    project: str
    name: str
    scopes: list[Scope]
    expires_at: Timestamp | None
    revoked_at: Timestamp | None
    replaces: str | None
    person: Annotated[
        str | None, Field(description="Whose personal key it is: the identity provider's subject.")
    ]


class NewApiKeyOut(ApiKeyOut):
    key: Annotated[str, Field(description="The key itself, shown only once.")]


def create_key(db: Engine, caller: Caller, sent: ApiKeyIn, once: Once = UNKEYED) -> NewApiKeyOut:
    """Raises Forbidden for a key that could do more than the caller's own."""
    _refuse_more(caller, sent.scopes)
    with transaction(db) as session:
        project_id = meant_project(session, caller, sent.project)
        row, key = issue_key(
            session, project_id, sent.name, sent.scopes, lives_seconds=sent.expires_in_seconds
        )
        once.remember(session, row.id)
    return NewApiKeyOut(**dict(_out(row)), key=key)


def read_keys(
    db: Engine, caller: Caller, *, limit: int, project: str | None = None, after: str | None = None
) -> Page[ApiKeyOut]:
    """A page of the project's keys, newest first. `project` is another than the caller's own."""
    with reading(db) as session:
        project_id = meant_project(session, caller, project)
        last = None if after is None else find_key(session, caller, after)
        found = list_keys(session, project_id, after=last, limit=limit + 1)
    return page([_out(row) for row in found], limit)


def read_key(db: Engine, caller: Caller, api_key_id: str) -> ApiKeyOut:
    with reading(db) as session:
        return _out(find_key(session, caller, api_key_id))


def revoke_key(db: Engine, caller: Caller, api_key_id: str) -> ApiKeyOut:
    """Ends the key for good. Asked twice, nothing changes."""
    with transaction(db) as session:
        row = find_key(session, caller, api_key_id)
        _refuse_more(caller, row.scopes)
        revoke(session, row.id)
        session.refresh(row)
    return _out(row)


def rotate_key(
    db: Engine, caller: Caller, api_key_id: str, sent: RotationIn, once: Once = UNKEYED
) -> NewApiKeyOut:
    """A new key like this one, which works on for the grace period. Raises Conflict for a revoked key."""
    with transaction(db) as session:
        old = find_key(session, caller, api_key_id)
        _refuse_more(caller, old.scopes)
        if old.revoked_at is not None:
            raise Conflict(f"{api_key_id} is revoked. Create a new key.", code="key_revoked")
        row, key = rotate(session, old, sent.grace_seconds)
        once.remember(session, row.id)
    return NewApiKeyOut(**dict(_out(row)), key=key)


def _refuse_more(caller: Caller, scopes: Iterable[str]) -> None:
    """Refuse keys with more rights than the caller's own, to prevent privilege escalation."""
    for scope in map(Scope, scopes):
        if not caller.may(scope):
            raise Forbidden(f"This key lacks the scope {scope.value!r} itself; ask for one that has it.")


def _out(row: ApiKey) -> ApiKeyOut:
    return ApiKeyOut(
        id=row.id,
        created_at=row.created_at,
        project=row.project_id,
        name=row.name,
        scopes=[Scope(scope) for scope in row.scopes],
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        replaces=row.replaces,
        person=row.person,
    )
