"""Signing in with an API key, and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import page, url
from app.dashboard.session import PATH, Viewer, forget, keep, refuse_other_sites
from app.http.admission import Keys, client_address
from app.http.router import page_router

router = page_router()
Next = Annotated[str, Form(max_length=2000)]


@router.get("/sign-in")
def form(request: Request, next: str = "") -> Response:  # noqa: A002 - the usual name in a URL
    return page(request, "sign_in.html", None, next=_own(next), refused=None)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    key: Annotated[str, Form(max_length=200)] = "",
    next: Next = "",  # noqa: A002
) -> Response:
    refuse_other_sites(request)
    keys: Keys = request.app.state.keys
    refusal = (await keys.admit(key.strip(), client_address(request.scope))).refusal
    if refusal is not None:
        said, status = refusal.detail, refusal.status
        return page(request, "sign_in.html", None, status=status, next=_own(next), refused=said)
    response = RedirectResponse(_own(next), status_code=303)
    keep(request, response, key.strip())
    return response


@router.post("/sign-out")
def sign_out(caller: Viewer) -> Response:
    response = RedirectResponse(url("sign-in"), status_code=303)
    forget(response)
    return response


def _own(asked: str) -> str:
    """Return the URL only if it is a page of the dashboard: never another site or scheme."""
    return asked if asked.startswith(f"{PATH}/") and "\\" not in asked else url("jobs")
