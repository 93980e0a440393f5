"""API keys: a project's own for its admins, every project's for operators."""

from __future__ import annotations

from fastapi import Response

from app.http.auth import Admin
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, Limit, OfProject, Page
from app.platform.api_keys import (
    ApiKeyIn,
    ApiKeyOut,
    NewApiKeyOut,
    RotationIn,
    create_key,
    read_key,
    read_keys,
    revoke_key,
    rotate_key,
)

router = api_router("api keys", "/v1/api-keys")


@router.post("", status_code=201, summary="Create an API key")
def create(caller: Admin, db: Db, sent: ApiKeyIn, response: Response) -> NewApiKeyOut:
    """Create a key. A key cannot create one with more rights than its own."""
    return _new(create_key(db, caller, sent), response)


@router.get("", summary="List API keys, newest first")
def list_(
    caller: Admin, db: Db, project: OfProject = None, limit: Limit = 20, after: After = None
) -> Page[ApiKeyOut]:
    return read_keys(db, caller, project=project, limit=limit, after=after)


@router.get("/{api_key_id}", summary="Get an API key, without its secret")
def get(caller: Admin, db: Db, api_key_id: str) -> ApiKeyOut:
    return read_key(db, caller, api_key_id)


@router.post("/{api_key_id}/revoke", summary="Revoke an API key")
def revoke_(caller: Admin, db: Db, api_key_id: str) -> ApiKeyOut:
    """Revoke a key permanently, from the next request on. Revoking it twice changes nothing."""
    return revoke_key(db, caller, api_key_id)


@router.post("/{api_key_id}/rotate", status_code=201, summary="Rotate an API key")
def rotate_(caller: Admin, db: Db, api_key_id: str, sent: RotationIn, response: Response) -> NewApiKeyOut:
    """Rotate a key. Both keys work until the old one's grace period ends."""
    return _new(rotate_key(db, caller, api_key_id, sent), response)


def _new(made: NewApiKeyOut, response: Response) -> NewApiKeyOut:
    response.headers["Location"] = f"/v1/api-keys/{made.id}"
    response.headers["Cache-Control"] = "no-store"
    return made
