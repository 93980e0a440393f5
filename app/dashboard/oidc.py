"""Signing in on the dashboard with the organisation's identity provider: there, and back again."""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hmac import compare_digest
from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import page, url
from app.dashboard.session import PATH, keep
from app.dashboard.sign_in import own_page
from app.errors import Forbidden, Problem
from app.http.admission import SignInPlace
from app.http.dependencies import Config, Db
from app.http.router import page_router
from app.platform.sign_in import IdentityProvider, needed_provider, personal_key

router = page_router("/oidc")

COOKIE = "star_sign_in"  # of one sign-in: its state, nonce and verifier
COOKIE_SECONDS = 600
Next = Annotated[str, Query(max_length=2000)]
Project = Annotated[str | None, Query(max_length=200)]


@router.get("/start")
def start(
    request: Request,
    _: SignInPlace,
    provider: IdentityProvider,
    next: Next = "",  # noqa: A002 - the usual name in a URL
    project: Project = None,
) -> Response:
    """Leads to the provider. What it must come back with is in a cookie of this browser."""
    kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce")}
    kept |= {"verifier": secrets.token_urlsafe(48), "next": own_page(next), "project": project or ""}
    where = needed_provider(provider).authorization_url(kept["state"], kept["nonce"], kept["verifier"])
    response = RedirectResponse(where, status_code=303)
    value = urlsafe_b64encode(json.dumps(kept).encode()).decode()
    secure = request.url.scheme == "https"
    # Lax: the provider's redirect is a link from another site.
    response.set_cookie(
        COOKIE,
        value,
        max_age=COOKIE_SECONDS,
        path=f"{PATH}/oidc",
        httponly=True,
        samesite="lax",
        secure=secure,
    )
    return response


@router.get("/callback")
def callback(
    request: Request,
    _: SignInPlace,
    db: Db,
    settings: Config,
    provider: IdentityProvider,
    code: Annotated[str, Query(max_length=4000)] = "",
    state: Annotated[str, Query(max_length=200)] = "",
    error: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    kept = _kept(request)
    try:
        if error or not code:
            raise Forbidden("The identity provider did not sign you in. Try again.", code="sign_in_refused")
        if not compare_digest(kept.get("state", ""), state) or not state:
            raise Forbidden("This sign-in was begun in another browser, or long ago.", code="sign_in_refused")
        person = needed_provider(provider).person_of_code(code, kept["verifier"], kept["nonce"])
        key = personal_key(db, settings, person, kept.get("project") or None).key
    except Problem as refused:
        return _refused(request, settings.oidc_issuer, kept, refused)
    response = RedirectResponse(own_page(kept.get("next", "")), status_code=303)
    keep(request, response, str(key))
    response.delete_cookie(COOKIE, path=f"{PATH}/oidc")
    return response


def _kept(request: Request) -> dict[str, str]:
    """What `start` left in this browser; nothing, where it is not there or not ours."""
    try:
        found = json.loads(urlsafe_b64decode(request.cookies.get(COOKIE, "")))
    except ValueError:
        return {}
    whole = isinstance(found, dict) and {"state", "nonce", "verifier"} <= found.keys()
    return {str(name): str(value) for name, value in found.items()} if whole else {}


def _refused(request: Request, issuer: str, kept: dict[str, str], problem: Problem) -> Response:
    """The form again; who has a role in several projects names one there."""
    return page(
        request,
        "sign_in.html",
        None,
        status=problem.status,
        next=kept.get("next") or url("jobs"),
        refused=problem.detail,
        issuer=issuer,
        choose=problem.code == "several_projects",
    )
