"""Signing in with an API key, and out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import page, url
from app.dashboard.session import PATH, Viewer, forget, keep, refuse_other_sites
from app.http.admission import Keys, client_address
from app.http.dependencies import Config
from app.http.router import page_router
from app.settings import Settings
from app.sign_in_link import redeem

router = page_router()
USED = (
    "This link has been used, is older than an hour, or is of an earlier start. "
    "Paste the key, or start `star serve` again."
)
Next = Annotated[str, Form(max_length=2000)]


@router.get("/sign-in")
def form(
    request: Request,
    settings: Config,
    next: str = "",  # noqa: A002 - the usual name in a URL
    once: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """The form; with the token of `star serve`, as the one who has started it."""
    if not once:
        return _form(request, settings, own_page(next))
    if (key := redeem(settings.home, once)) is None:
        return _form(request, settings, own_page(next), refused=USED, status=401)
    response = RedirectResponse(own_page(next), status_code=303)
    keep(request, response, key)
    return response


@router.post("/sign-in")
async def sign_in(
    request: Request,
    settings: Config,
    key: Annotated[str, Form(max_length=200)] = "",
    next: Next = "",  # noqa: A002
) -> Response:
    refuse_other_sites(request)
    keys: Keys = request.app.state.keys
    refusal = (await keys.admit(key.strip(), client_address(request.scope))).refusal
    if refusal is not None:
        said, status = refusal.detail, refusal.status
        return _form(request, settings, own_page(next), refused=said, status=status)
    response = RedirectResponse(own_page(next), status_code=303)
    keep(request, response, key.strip())
    return response


@router.post("/sign-out")
def sign_out(caller: Viewer) -> Response:
    response = RedirectResponse(url("sign-in"), status_code=303)
    forget(response)
    return response


def _form(
    request: Request, settings: Settings, next_page: str, *, refused: str | None = None, status: int = 200
) -> Response:
    issuer = settings.oidc_issuer
    shown = {"next": next_page, "refused": refused, "issuer": issuer, "choose": False}
    return page(request, "sign_in.html", None, status=status, **shown)


def own_page(asked: str) -> str:
    """Return the URL only if it is a page of the dashboard: never another site or scheme."""
    return asked if asked.startswith(f"{PATH}/") and "\\" not in asked else url("jobs")
