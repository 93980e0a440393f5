"""API keys: a project's own for its admins, every project's for operators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import Query, Response
from pydantic import Field, StrictInt

from app.database import reading, transaction
from app.errors import Conflict, Forbidden
from app.http.auth import Admin
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, In, Limit, Name, Page, Resource, Text, Timestamp, page
from app.ledger.platform.keys import Caller, Scope, find_key, issue_key, list_keys, revoke, rotate
from app.ledger.platform.projects import meant_project
from app.tables.platform import ApiKey

router = api_router("api keys", "/v1/api-keys")

DAY = 86_400
LONGEST = 3650 * DAY
MOST_GRACE = 30 * DAY

OfProject = Annotated[str | None, Query(max_length=200, description="Another project; operators only.")]


class ApiKeyIn(In):
    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))] = Field(default=[Scope.SUBMIT])
    expires_in_seconds: Annotated[StrictInt, Field(ge=60, le=LONGEST)] | None = None  # None: never
    project: Annotated[Text, Field(max_length=200)] | None = None  # operators only; None: the caller's own


class RotationIn(In):
    grace_seconds: Annotated[StrictInt, Field(ge=0, le=MOST_GRACE)] = DAY  # for which the old key works on


class ApiKeyOut(Resource):
    """Without the secret: it is not kept."""

    object: Literal["api_key"] = "api_key"
    project: str
    name: str
    scopes: list[Scope]
    expires_at: Timestamp | None
    revoked_at: Timestamp | None
    replaces: str | None


class NewApiKeyOut(ApiKeyOut):
    key: Annotated[str, Field(description="The key itself. It is shown this once.")]


@router.post("", status_code=201, summary="Create an API key")
def create(caller: Admin, db: Db, sent: ApiKeyIn, response: Response) -> NewApiKeyOut:
    """No key makes one that may do more than itself."""
    _refuse_more(caller, sent.scopes)
    with transaction(db) as session:
        project_id = meant_project(session, caller, sent.project)
        row, key = issue_key(
            session, project_id, sent.name, sent.scopes, lives_seconds=sent.expires_in_seconds
        )
    return _new(row, key, response)


@router.get("", summary="List API keys, newest first")
def list_(
    caller: Admin, db: Db, project: OfProject = None, limit: Limit = 20, after: After = None
) -> Page[ApiKeyOut]:
    with reading(db) as session:
        project_id = meant_project(session, caller, project)
        last = None if after is None else find_key(session, caller, after)
        found = list_keys(session, project_id, after=last, limit=limit + 1)
    return page([_out(row) for row in found], limit)


@router.get("/{api_key_id}", summary="Get an API key, without its secret")
def get(caller: Admin, db: Db, api_key_id: str) -> ApiKeyOut:
    with reading(db) as session:
        return _out(find_key(session, caller, api_key_id))


@router.post("/{api_key_id}/revoke", summary="Revoke an API key")
def revoke_(caller: Admin, db: Db, api_key_id: str) -> ApiKeyOut:
    """It is refused from the next request on, for good. Asked twice, nothing changes."""
    with transaction(db) as session:
        row = find_key(session, caller, api_key_id)
        _refuse_more(caller, row.scopes)
        revoke(session, row.id)
        session.refresh(row)
    return _out(row)


@router.post("/{api_key_id}/rotate", status_code=201, summary="Replace an API key")
def rotate_(caller: Admin, db: Db, api_key_id: str, sent: RotationIn, response: Response) -> NewApiKeyOut:
    """Both keys work until the grace period of the old one is over."""
    with transaction(db) as session:
        old = find_key(session, caller, api_key_id)
        _refuse_more(caller, old.scopes)
        if old.revoked_at is not None:
            raise Conflict(f"{api_key_id} is revoked. Create a new key.", code="key_revoked")
        row, key = rotate(session, old, sent.grace_seconds)
    return _new(row, key, response)


def _refuse_more(caller: Caller, scopes: Iterable[str]) -> None:
    """Whoever could make, replace or end a key that may do more would have more rights than were given."""
    for scope in map(Scope, scopes):
        if not caller.may(scope):
            raise Forbidden(f"This key lacks the scope {scope.value!r} itself; ask for one that has it.")


def _new(row: ApiKey, key: str, response: Response) -> NewApiKeyOut:
    response.headers["Location"] = f"/v1/api-keys/{row.id}"
    response.headers["Cache-Control"] = "no-store"
    return NewApiKeyOut(**dict(_out(row)), key=key)


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
    )
