"""Authenticates every request from its headers, before a byte of the body is read.

The key is looked up and counted by a middleware. What it finds is in the request's state: `caller`, or the
`refusal` that the route's dependency then raises, so that the answer is the route's own (JSON or a page).
Who is not admitted has no body: whatever they send is neither read nor kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import anyio
from anyio import CapacityLimiter, to_thread
from fastapi import Depends
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.database import reading
from app.errors import Problem, RateLimited, Unauthorized, Unavailable
from app.given_up import client_gone
from app.http.rate_limits import Allowance, RateLimits, Strangers
from app.ledger.platform.keys import Caller, authenticate_all

LOOKUPS_AT_ONCE = 1  # queries for keys: those who come meanwhile share the next one
LINGER_BYTES = 16 << 20  # of a refused body that are thrown away, so that its sender can read the answer
LINGER_SECONDS = 2.0
COOKIE = "star_key"  # the dashboard's; the browser sends it to no other path
PAGES = "/dashboard"
FILES = (f"{PAGES}/static/", "/docs/guide/")  # of the server itself, for everybody
SHARED = "/shared/"  # reports, for whoever has the link
# Where no key is asked for, and none is looked up.
OPEN = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json"})
# Where a body is read without a key: what the key follows from is in it.
SIGN_IN = frozenset(
    {
        f"{PAGES}/sign-in",
        f"{PAGES}/oidc/start",
        f"{PAGES}/oidc/callback",
        "/v1/sign-in",
        "/v1/sign-in/device",
        "/v1/sign-in/device/token",
    }
)
_NO_KEY = {"api": "Send your API key in the header `Authorization: Bearer star_...`.", "pages": "Sign in."}


@dataclass
class _Lookup:
    """Keys that are looked up by one query."""

    keys: set[str] = field(default_factory=set)
    found: dict[str, Caller] | None = None  # None: the database did not answer
    done: anyio.Event = field(default_factory=anyio.Event)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The result of authenticating a request from its headers alone."""

    caller: Caller | None
    allowance: Allowance | None  # how much of its rate is left, for the headers of the answer
    refusal: Problem | None


class Keys:
    """Looks up keys, concurrent ones in a single query, and counts requests of keys and of strangers."""

    def __init__(self, engine: Engine, limits: RateLimits, strangers: Strangers) -> None:
        self._engine, self._limits, self._strangers = engine, limits, strangers
        self._next = _Lookup()
        self._turns = CapacityLimiter(LOOKUPS_AT_ONCE)
        self._threads = CapacityLimiter(LOOKUPS_AT_ONCE)  # apart from those that run the routes

    async def admit(self, key: str | None, address: str, *, missing: str = _NO_KEY["api"]) -> Admitted:
        """Authenticate the key and count the request against the limits of key and project, or of the address
        if wrong.
        """
        if key is None:
            return Admitted(None, None, Unauthorized(missing, code="no_api_key"))
        if (shut_out := self._strangers.shut_out(address, key)) is not None:
            return Admitted(None, shut_out, _too_often(shut_out))
        found = await self._look_up(key)
        if found is None:
            return Admitted(None, None, Unavailable("The database does not answer. Try again in a moment."))
        if (caller := found.get(key)) is None:
            self._strangers.wrong_key(address)
            wrong = "This API key is not valid: mistyped, revoked or expired."
            return Admitted(None, None, Unauthorized(wrong, code="invalid_api_key"))
        self._strangers.remember(key)
        allowance = await self._limits.count(caller.key_id, caller.project_id)
        return Admitted(caller, allowance, None if allowance.allowed else _too_often(allowance))

    async def _look_up(self, key: str) -> dict[str, Caller] | None:
        lookup = self._next
        first = not lookup.keys
        lookup.keys.add(key)
        if not first:
            await lookup.done.wait()
            return lookup.found
        try:
            async with self._turns:
                self._next = _Lookup()
                lookup.found = await to_thread.run_sync(self._read, lookup.keys, limiter=self._threads)
        finally:
            if self._next is lookup:  # cancelled before its turn
                self._next = _Lookup()
            lookup.done.set()
        return lookup.found

    def _read(self, keys: set[str]) -> dict[str, Caller] | None:
        try:
            with reading(self._engine) as session:
                return authenticate_all(session, keys)
        except SQLAlchemyError:
            return None

    def count_sign_in(self, address: str) -> None:
        """Raises RateLimited for an address that begins sign-ins too often: each costs a call elsewhere."""
        if (shut_out := self._strangers.sign_in(address)) is not None:
            wait = f"Wait {shut_out.reset_seconds} s."
            raise RateLimited(f"Too many sign-ins came from this address. {wait}", code="too_many_sign_ins")

    def count_link(self, address: str) -> None:
        """Raises RateLimited for an address that opens shared reports too often."""
        if (shut_out := self._strangers.open_link(address)) is not None:
            wait = f"Wait {shut_out.reset_seconds} s."
            raise RateLimited(
                f"Too many reports were opened from this address. {wait}", code="too_many_links"
            )


async def sign_in_place(request: Request) -> None:
    """Dependency of routes that anybody may call who wants to sign in."""
    keys: Keys = request.app.state.keys
    keys.count_sign_in(client_address(request.scope))


SignInPlace = Annotated[None, Depends(sign_in_place)]


class Admission:
    """ASGI middleware outside everything that reads a body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # On a kept connection a request starts in the context of the one before it, whose client counts as
        # gone once it was answered. A look-up is shared by requests: nobody's leaving may stop it either.
        client_gone.set(None)
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        if scope["type"] != "http" or path in SIGN_IN:
            await self.app(scope, receive, send)
            return
        if path in OPEN or path.startswith((*FILES, SHARED)):
            admitted = Admitted(None, None, None)
        else:
            keys: Keys = scope["app"].state.keys
            key, missing = _key_of(scope, path)
            admitted = await keys.admit(key, client_address(scope), missing=missing)
        state = scope.setdefault("state", {})
        state |= {"caller": admitted.caller, "allowance": admitted.allowance, "refusal": admitted.refusal}
        if admitted.caller is not None and admitted.refusal is None:
            await self.app(scope, receive, send)
        else:
            await self.app(scope, *_without_body(scope, receive, send))


def client_address(scope: Scope) -> str:
    client = scope.get("client")
    return "unknown" if client is None else str(client[0])


def _key_of(scope: Scope, path: str) -> tuple[str | None, str]:
    """Return the key a request sends, and the message for a missing one. Dashboard pages accept
    the cookie only.
    """
    headers = Headers(scope=scope)
    if path == PAGES or path.startswith(f"{PAGES}/"):
        return cookie_parser(headers.get("cookie", "")).get(COOKIE), _NO_KEY["pages"]
    sent = headers.getlist("authorization")
    scheme, _, key = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    return (key if scheme.lower() == "bearer" else None), _NO_KEY["api"]


def _too_often(allowance: Allowance) -> RateLimited:
    wait = f"Wait {allowance.reset_seconds} s"
    if allowance.of == "address":
        return RateLimited(f"Too many wrong keys came from this address. {wait}.", code="too_many_wrong_keys")
    return RateLimited(
        f"This {allowance.of} has asked {allowance.limit} times in {allowance.window_seconds} s. "
        f"{wait}, and poll less often: events can be streamed or waited for."
    )


def _without_body(scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Return replacements for `receive` and `send` of a request whose body must not be read."""
    names = {name for name, _ in scope["headers"]}
    has_body = names & {b"content-length", b"transfer-encoding"}
    empty = [{"type": "http.request", "body": b"", "more_body": False}]

    async def nothing() -> Message:
        if empty:
            return empty.pop()
        while (message := await receive())["type"] == "http.request":
            pass
        return message

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        if message["type"] != "http.response.body" or message.get("more_body"):
            await send(message)
            return
        await send({**message, "more_body": True})
        await _throw_away(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return nothing, closing if has_body else send


async def _throw_away(receive: Receive) -> None:
    """Closing at once would take the answer from a sender who is not done, as TCP works."""
    left = LINGER_BYTES
    with anyio.move_on_after(LINGER_SECONDS):
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body"):
                return
