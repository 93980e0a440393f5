"""Routers whose routes are whole as they are made, so that an application takes them as they are.

FastAPI's `include_router` makes every route a second time, which took a start of the API half a second.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI, Request

from app.errors import BadRequest
from app.http.schemas import PROBLEMS
from app.openapi.document import operation_id


async def _refuse_nul(request: Request) -> None:
    """PostgreSQL takes no NUL in a text, so a name or an id that holds one names nothing."""
    if "\x00" in request.scope["path"] or b"%00" in request.scope["query_string"]:
        raise BadRequest("The URL holds a NUL character.")


def api_router(tag: str, prefix: str = "") -> APIRouter:
    """Of routes that belong to the OpenAPI document, under `tag`."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        dependencies=[Depends(_refuse_nul)],
        responses=PROBLEMS,
        generate_unique_id_function=operation_id,
    )


def page_router(prefix: str = "") -> APIRouter:
    """Of the dashboard's pages."""
    return APIRouter(prefix=prefix, dependencies=[Depends(_refuse_nul)])


def take_in(app: FastAPI, router: APIRouter) -> None:
    """Let `app` answer the router's routes."""
    app.router.routes.extend(router.routes)
