"""/docs: the reference of the API as a page, from files of our own under the dashboard's policy."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from app.dashboard.middleware import HEADERS, POLICY
from app.dashboard.rendering import page

DOCS = "/docs"
# The style sheet of Swagger UI holds its icons as data: URLs; everything else is a file from here.
REFERENCE_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": POLICY.replace("img-src 'self'", "img-src 'self' data:"),
}


def add_reference(api: FastAPI) -> None:
    """Adds /docs in place of FastAPI's own, which runs a script of a CDN."""
    api.add_route(DOCS, reference, include_in_schema=False)


async def reference(request: Request) -> Response:
    response = page(request, "reference.html", None)
    response.headers.update(REFERENCE_HEADERS)
    return response
