"""Every error leaves as RFC 9457 problem JSON that also carries the `error` member of OpenAI clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from app.errors import (
    BadRequest,
    FieldError,
    Gone,
    Invalid,
    Problem,
    StorageFull,
    Unauthorized,
    Unavailable,
)
from app.given_up import ClientGone
from app.outages import is_disk_full, is_outage
from app.storage import MissingArtifact
from star_engine.tasks.programs.execution import SandboxFailed

MAX_ERRORS = 100  # named in one answer: a caller fixes those, and is told of the next
CLIENT_CLOSED_REQUEST = 499  # as nginx calls it: for the log alone
MEDIA_TYPE = "application/problem+json"
_REASONS = {"model_type": "Input should be an object", "dict_type": "Input should be an object"}
_FIXES = {
    "missing": "Add it.",
    "extra_forbidden": "Remove it, or correct its spelling: there is no such field.",
    "json_invalid": "Send valid JSON.",
}


def install(app: FastAPI) -> None:
    for kind in (Problem, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _refused)
    answer_nobody(app)


def answer_nobody(app: FastAPI) -> None:
    """A client that has gone is a line of the log, and no error."""
    for kind in (ClientGone, ClientDisconnect):
        app.add_exception_handler(kind, lambda _request, _gone: Response(status_code=CLIENT_CLOSED_REQUEST))


def problem_response(
    request: Request, problem: Problem, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The body that all errors share. `param` names the first field at fault."""
    errors = [error.as_json() for error in problem.errors]
    body: dict[str, Any] = {
        "type": f"urn:star:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.url.path,
        "code": problem.code,
        "request_id": request.scope.get("state", {}).get("request_id"),
        "errors": errors,
        "error": {
            "type": _error_type(problem.status),
            "code": problem.code,
            "message": problem.detail,
            "param": errors[0]["field"] if errors else None,
        },
    }
    if problem.bad_rows is not None:
        body["bad_rows"] = problem.bad_rows
    if problem.dependents:
        body["dependents"] = [asdict(one) for one in problem.dependents]
    if isinstance(problem, Unauthorized):
        headers = {**(headers or {}), "WWW-Authenticate": "Bearer"}
    headers = {**(headers or {}), **when_again(problem)}
    return JSONResponse(body, problem.status, headers=headers, media_type=MEDIA_TYPE)


def when_again(problem: Problem) -> dict[str, str]:
    """The header that tells clients when to try again, where that helps."""
    return {"Retry-After": str(problem.retry_seconds)} if isinstance(problem, Unavailable) else {}


def field_errors(
    found: Sequence[Mapping[str, Any]],
    prefix: str = "",
    nearest: Callable[[str], str | None] = lambda _: None,
) -> tuple[FieldError, ...]:
    """Pydantic's errors in our words.

    prefix: goes before each field's path. nearest: the field that a path without the prefix was probably
    meant to be.
    """
    return tuple(
        FieldError(
            field=(prefix + _path(error["loc"])).rstrip(".") or "body",
            reason=f"{_REASONS.get(error['type'], error['msg'])}.",
            fix=_fix(error, prefix, nearest),
        )
        for error in found
    )


def _fix(error: Mapping[str, Any], prefix: str, nearest: Callable[[str], str | None]) -> str:
    meant = nearest(_path(error["loc"])) if error["type"] == "extra_forbidden" else None
    if meant is not None:
        return f"Did you mean {prefix}{meant}? There is no such field."
    return _FIXES.get(error["type"], "Send a value that fits.")


def _path(loc: Sequence[str | int]) -> str:
    """("body", "config", "iterations") is the field config.iterations."""
    inner = loc[1:] if loc and loc[0] in ("body", "query", "path", "header") else loc
    return ".".join(str(part) for part in inner)


def _error_type(status: int) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return "authentication_error"
    if status == HTTPStatus.FORBIDDEN:
        return "permission_error"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def as_problem(failure: Exception) -> Problem:
    """Whatever a route has raised, or FastAPI and Starlette on its behalf."""
    if isinstance(failure, Problem):
        return failure
    if isinstance(failure, RequestValidationError):
        return _not_valid(failure)
    if (passing := _platform_problem(failure)) is not None:
        return passing
    if not isinstance(failure, HTTPException):
        return Problem("Something went wrong here. Report the request's id to the operator.")
    status = HTTPStatus(failure.status_code)
    problem = Problem(_DETAILS.get(status, str(failure.detail)), code=status.name.lower())
    problem.status, problem.title = status, status.phrase
    return problem


def _platform_problem(failure: Exception) -> Problem | None:
    """What the platform lacks, in a status that tells clients whether to try again."""
    if is_disk_full(failure):
        return StorageFull("The platform has no room to store this. Tell its operator; send it again later.")
    if is_outage(failure):
        return Unavailable("The database does not answer. Try again in a moment.")
    if isinstance(failure, MissingArtifact):
        return Gone("Its bytes are not stored any more. Ask the operator to restore them.", code="bytes_gone")
    if isinstance(failure, SandboxFailed):
        return Unavailable(
            f"A program had to be executed, and {failure}. The operator can give the API a sandbox "
            "(STAR_SANDBOX_URL).",
            code="sandbox_failed",
        )
    return None


def _not_valid(failure: RequestValidationError) -> Problem:
    found = failure.errors()
    errors = field_errors(found[:MAX_ERRORS])
    if any(error["type"] == "json_invalid" for error in found[:MAX_ERRORS]):
        return BadRequest("The body is not valid JSON.", errors=errors)
    named = ", ".join(dict.fromkeys(error.field for error in errors))
    return Invalid(f"The request is not valid: {named}.", errors=errors)


def _refused(request: Request, failure: Exception) -> JSONResponse:
    problem = as_problem(failure)
    headers = dict(getattr(failure, "headers", None) or {})  # of what Starlette raises by itself
    if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    return problem_response(request, problem, headers)


def _methods(request: Request) -> list[str]:
    """What the path takes: Starlette names the methods of the first route alone, and each method is one."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in routes for method in getattr(route, "methods", None) or ()})


_DETAILS = {
    HTTPStatus.NOT_FOUND: "There is nothing at this path.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This path does not take this method.",
}
