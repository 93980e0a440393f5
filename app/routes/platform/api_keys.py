"""API keys: a project's own for its admins, every project's for operators."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from app.http.auth import Admin
from app.http.dependencies import Db
from app.http.idempotency import MadeOnce, made_once
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

NO_SECRET: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An earlier request with this Idempotency-Key has made it. Its secret was shown then "
        "and is not stored: if that answer was lost, revoke this key and create another.",
        "model": ApiKeyOut,
    }
}


@router.post(
    "", status_code=201, response_model=NewApiKeyOut, responses=NO_SECRET, summary="Create an API key"
)
def create(caller: Admin, db: Db, once: MadeOnce, sent: ApiKeyIn, response: Response) -> Any:
    """Create a key. A key cannot create one with more rights than its own."""
    made = made_once(
        db,
        once,
        response,
        lambda: create_key(db, caller, sent, once),
        lambda key_id: read_key(db, caller, key_id),
    )
    return _answer(made, response)


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


@router.post(
    "/{api_key_id}/rotate",
    status_code=201,
    response_model=NewApiKeyOut,
    responses=NO_SECRET,
    summary="Rotate an API key",
)
def rotate_(
    caller: Admin, db: Db, once: MadeOnce, api_key_id: str, sent: RotationIn, response: Response
) -> Any:
    """Rotate a key. Both keys work until the old one's grace period ends."""
    made = made_once(
        db,
        once,
        response,
        lambda: rotate_key(db, caller, api_key_id, sent, once),
        lambda key_id: read_key(db, caller, key_id),
    )
    return _answer(made, response)


def _answer(made: ApiKeyOut, response: Response) -> Any:
    """A new key as it is; one that was made before without its secret, as its own response."""
    response.headers["Location"] = f"/v1/api-keys/{made.id}"
    response.headers["Cache-Control"] = "no-store"
    if isinstance(made, NewApiKeyOut):
        return made
    return JSONResponse(made.model_dump(mode="json"), 200, headers=dict(response.headers))
