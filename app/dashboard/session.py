"""The dashboard's session: an API key in an HTTP-only cookie that the browser sends to the dashboard only."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response

from app.errors import Forbidden
from app.http.admission import COOKIE, PAGES
from app.http.auth import SAFE, Requires, admitted
from app.ledger.platform.keys import Caller, Scope

PATH = PAGES


async def signed_in(request: Request) -> Caller:
    """The caller of the cookie's key. Raises Unauthorized, which the pages turn into the sign-in form."""
    return admitted(request)


class Signed(Requires):
    """Requires a scope from the cookie's key; requests that change something must also come from
    our own page.
    """

    async def __call__(self, request: Request, caller: Annotated[Caller, Depends(signed_in)]) -> Caller:
        if request.method not in SAFE:
            refuse_other_sites(request)
            await _refuse_without_token(request)
        return self.checked(request, caller)


Viewer = Annotated[Caller, Depends(Signed(Scope.READ))]
Submitter = Annotated[Caller, Depends(Signed(Scope.SUBMIT))]
Admin = Annotated[Caller, Depends(Signed(Scope.ADMIN))]
Operator = Annotated[Caller, Depends(Signed(Scope.OPERATOR))]


def csrf_token(request: Request) -> str:
    """What every form of a page carries: known only to who holds the key."""
    return hmac.new(request.cookies.get(COOKIE, "").encode(), b"csrf", sha256).hexdigest()


def refuse_other_sites(request: Request) -> None:
    """Raises Forbidden for a form that another site's page has sent."""
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    elsewhere = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if site not in ("same-origin", "none") or elsewhere:
        raise Forbidden("This form was sent by a page of another site.", code="cross_site")


async def _refuse_without_token(request: Request) -> None:
    sent = request.headers.get("x-csrf-token") or (await request.form()).get("csrf")
    if not hmac.compare_digest(str(sent), csrf_token(request)):
        raise Forbidden(
            "This form is from an earlier sign-in: reload the page and send it again.", code="csrf"
        )


def keep(request: Request, response: Response, key: str) -> None:
    """Lax, not strict: a link to a rationale that a colleague sent opens; forms are guarded by the token."""
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, key, path=PATH, httponly=True, samesite="lax", secure=secure)


def forget(response: Response) -> None:
    response.delete_cookie(COOKIE, path=PATH)
