"""Builds routers whose routes are added to an application as they are.

FastAPI's `include_router` makes every route a second time, which cost half a second at each start of the API.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI, Request

from app.errors import BadRequest
from app.http.schemas import PROBLEMS
from app.openapi.document import operation_id


async def _refuse_nul(request: Request) -> None:
    """Raises BadRequest for a NUL in the URL: PostgreSQL takes none in a text, so it names nothing."""
    if "\x00" in request.scope["path"] or b"%00" in request.scope["query_string"]:
        raise BadRequest("The URL holds a NUL character.")


def api_router(tag: str, prefix: str = "") -> APIRouter:
    """Builds a router of /v1: its routes stand in the OpenAPI document, under `tag`."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        dependencies=[Depends(_refuse_nul)],
        responses=PROBLEMS,
        generate_unique_id_function=operation_id,
    )


def page_router(prefix: str = "") -> APIRouter:
    """Builds a router of the dashboard's pages."""
    return APIRouter(prefix=prefix, dependencies=[Depends(_refuse_nul)])


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Adds the router's routes to the application."""
    app.router.routes.extend(router.routes)
