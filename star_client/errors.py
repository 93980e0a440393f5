"""What can go wrong between a caller and the platform.

StarError
├── Unreachable      no server known, or none that answers
├── Damaged          downloaded bytes do not have the promised sha256
├── SecretLost       a key was made, and the answer that held its secret did not arrive
├── BadFile          a file of settings or examples, or a value, that cannot be read
├── OtherBase        a folder does not hold the base model of an adapter
└── ProblemError     the server answered with a problem (RFC 9457)
    ├── NotAuthorised    401, 403
    ├── NotFound         404
    ├── Refused          400, 409, 412, 413, 422: the request, or the object's state
    └── ServerFailed     429, 5xx, after retries
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2


class StarError(Exception):
    """Base of everything that this package raises on purpose; its text is for people."""


class Unreachable(StarError):
    pass


class Damaged(StarError):
    pass


class SecretLost(StarError):
    pass


class OtherBase(StarError):
    pass


class BadFile(StarError, ValueError):
    pass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake to fix, in a request or in an uploaded file."""

    reason: str
    field: str = ""
    fix: str = ""
    line: int | None = None
    rows: int = 1  # of the file that have this mistake
    lines: Sequence[int] = ()  # the first of them, where there are several

    @property
    def mend(self) -> str:
        """What `fix` was called before."""
        return self.fix

    def __str__(self) -> str:
        place = ", ".join(part for part in (self._where(), self.field) if part)
        return " ".join(part for part in (f"{place}:" if place else "", self.reason, self.fix) if part)

    def _where(self) -> str:
        """Name the lines: "line 3", "line 3 and 7", "line 3, 7 and 91 more"."""
        if self.line is None or self.rows < 2 or len(self.lines) < 2:
            return "" if self.line is None else f"line {self.line}"
        first, second = self.lines[:2]
        more = self.rows - 2
        return f"line {first}, {second} and {more} more" if more else f"line {first} and {second}"


@dataclass(eq=False)
class ProblemError(StarError):
    status: int
    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    request_id: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)  # as the server sent it

    @property
    def dependents(self) -> tuple[Mapping[str, Any], ...]:
        """What stands in the way of a deletion: object, id, name and reason of each."""
        return tuple(self.body.get("dependents") or ())

    def __str__(self) -> str:
        return "\n".join([self.detail, *(f"  {error}" for error in self.errors)])


class NotAuthorised(ProblemError):
    pass


class NotFound(ProblemError):
    pass


class Refused(ProblemError):
    pass


class ServerFailed(ProblemError):
    pass


def problem_from(response: httpx2.Response) -> ProblemError:
    """Return the error for a response of status 400 or above that has been read to its end."""
    body = _json_object(response)
    errors = tuple(_field_error(entry) for entry in body.get("errors") or () if entry.get("reason"))
    return _kind(response.status_code)(
        status=response.status_code,
        code=str(body.get("code") or f"http_{response.status_code}"),
        detail=str(body.get("detail") or f"{response.status_code} {response.reason_phrase}"),
        errors=errors,
        request_id=body.get("request_id") or response.headers.get("x-request-id"),
        body=body,
    )


def _json_object(response: httpx2.Response) -> dict[str, Any]:
    """Parse a JSON object, or None: a proxy may answer with an HTML page."""
    try:
        body = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return body if isinstance(body, dict) else {}


def _field_error(entry: Mapping[str, Any]) -> FieldError:
    """Parse one of a problem's errors. Servers older than the field `fix` send `mend`."""
    named = {"fix": entry.get("mend"), **entry}
    fields = ("reason", "field", "fix", "line", "rows", "lines")
    return FieldError(**{name: named[name] for name in fields if named.get(name) is not None})


def _kind(status: int) -> type[ProblemError]:
    if status in (401, 403):
        return NotAuthorised
    if status == 404:
        return NotFound
    return ServerFailed if status >= 500 or status == 429 else Refused
