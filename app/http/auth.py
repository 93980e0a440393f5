"""Scopes. Every route names the scope it needs, or the app does not start."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.errors import Forbidden, Problem, Unauthorized
from app.http.dependencies import route_path
from app.ledger.platform.audit_log import Acting, acting
from app.ledger.platform.keys import Caller, Scope

_bearer = HTTPBearer(auto_error=False, description="An API key: star_…")


async def current_caller(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    return admitted(request)


def admitted(request: Request) -> Caller:
    """Return the caller that app.http.admission found, or raise its refusal (Unauthorized,
    RateLimited ...).
    """
    refusal: Problem | None = request.state.refusal
    caller: Caller | None = request.state.caller
    if refusal is not None or caller is None:
        raise refusal or Unauthorized("This path is open to everybody and has no caller.")
    return caller


class Requires:
    """A dependency that yields the Caller if its key has this scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: Request, caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
        """Async, so that what it sets is still set when the route runs, in its thread."""
        return self.checked(request, caller)

    def checked(self, request: Request, caller: Caller) -> Caller:
        if not caller.may(self.scope):
            raise Forbidden(f"This key lacks the scope `{self.scope}`; ask for one that has it.")
        acting.set(_acting(request, caller))
        return caller


def _acting(request: Request, caller: Caller) -> Acting | None:
    """Set the actor that the audit log records; none where nothing may be changed."""
    if request.method in SAFE:
        return None
    action = f"{request.method} {route_path(request.scope)}"
    return Acting(caller.project_id, caller.key_id, request.state.request_id, action)


Reader = Annotated[Caller, Depends(Requires(Scope.READ))]
Submitter = Annotated[Caller, Depends(Requires(Scope.SUBMIT))]
Admin = Annotated[Caller, Depends(Requires(Scope.ADMIN))]
Operator = Annotated[Caller, Depends(Requires(Scope.OPERATOR))]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC = frozenset({"/healthz", "/readyz"})


class UndeclaredScope(RuntimeError):
    """A route without a declared scope, which anybody could call."""


def check_scopes(app: FastAPI, public: frozenset[str] = PUBLIC) -> None:
    """Raises UndeclaredScope for a route that names no scope and is not public on purpose."""
    for route in app.routes:
        path = getattr(route, "path", None)
        declared = isinstance(route, APIRoute) and route_scope(route) is not None
        if not declared and path not in public | {app.openapi_url}:
            raise UndeclaredScope(
                f"{path} declares no scope: give it a Reader, Submitter, Admin or Operator parameter"
            )


def route_scope(route: APIRoute) -> Scope | None:
    """The scope that a route asks for; None if it asks for none."""
    return next((call.scope for call in _calls(route.dependant) if isinstance(call, Requires)), None)


def _calls(dependant: Dependant) -> list[object]:
    below = [call for dependency in dependant.dependencies for call in _calls(dependency)]
    return [dependant.call, *below]
