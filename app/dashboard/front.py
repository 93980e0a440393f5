"""/dashboard itself leads to the jobs."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import url
from app.dashboard.session import Viewer
from app.http.router import page_router

router = page_router()


@router.get("/")
def front(caller: Viewer) -> Response:
    return RedirectResponse(url("jobs"), status_code=303)
