"""What can go wrong that a caller can do something about. Routes turn these into RFC 9457 problem JSON.

Problem
├── BadRequest      400  the body is not what its type says
├── Unauthorized    401
├── Forbidden       403  the key lacks the scope
├── NotFound        404  it does not exist, or belongs to another project (never 403)
├── Conflict        409  the object is not in a state that allows this
├── ChangedSince    412  the object is another version than the one that If-Match names
├── Gone            410  its bytes are not stored any more
├── Invalid         422  the request is understood and refused; `errors` name row, field, reason and fix
├── QuotaExceeded   403  the project's quota is used up; `errors` names it, its usage and the fix
├── RateLimited     429  the key asks too often; Retry-After says when it may again
├── Unavailable     503  something that this server needs does not answer; Retry-After says when to try again
└── StorageFull     507  there is no room for what was sent
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from star_engine.data.row_errors import rows_in_words


@dataclass(frozen=True, slots=True)
class FieldError:
    field: str
    reason: str
    fix: str
    line: int | None = None
    rows: int = 1  # of an upload that have the same mistake
    lines: tuple[int, ...] = ()  # the first of them, where they are several

    def as_json(self) -> dict[str, Any]:
        """`mend` is what `fix` was called before; it goes with the next version of the API."""
        named = {**asdict(self), "mend": self.fix}
        if self.rows == 1:
            del named["rows"], named["lines"]
        return {name: value for name, value in named.items() if value is not None}

    @property
    def place(self) -> str:
        """Name the rows of a mistake in a file: "row 3", "row 3, 7 and 91 more"."""
        if self.line is None:
            return ""
        return rows_in_words(self.lines or (self.line,), self.rows)


@dataclass(frozen=True, slots=True)
class Dependent:
    """Something that stands in the way of a deletion."""

    object: str  # job, dataset, prompt_set, file
    id: str
    name: str
    reason: str


class Problem(Exception):
    status = 500
    code = "internal_error"
    title = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: tuple[FieldError, ...] = (),
        bad_rows: int | None = None,
        dependents: tuple[Dependent, ...] = (),
    ) -> None:
        """bad_rows: how many there are in all, of a file; `errors` need not name every one.

        dependents: what stands in the way of a deletion.
        """
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.errors = errors
        self.bad_rows = bad_rows
        self.dependents = dependents

    @classmethod
    def for_field(
        cls,
        field: str,
        reason: str,
        fix: str,
        *,
        code: str | None = None,
        detail: str | None = None,
        line: int | None = None,
    ) -> Self:
        """A problem with one field of the request. `detail` defaults to the reason and the fix."""
        errors = (FieldError(field, reason, fix, line),)
        return cls(detail or f"{reason} {fix}", code=code, errors=errors)


class BadRequest(Problem):
    status, code, title = 400, "bad_request", "Bad request"


class NotFound(Problem):
    status, code, title = 404, "not_found", "Not found"


class Conflict(Problem):
    status, code, title = 409, "conflict", "Conflict"


class Invalid(Problem):
    status, code, title = 422, "invalid", "Invalid request"


class Unauthorized(Problem):
    status, code, title = 401, "unauthorized", "Unauthorized"


class Forbidden(Problem):
    status, code, title = 403, "missing_scope", "Missing scope"


class QuotaExceeded(Problem):
    status, code, title = 403, "quota_exceeded", "Quota exceeded"


class RateLimited(Problem):
    status, code, title = 429, "rate_limited", "Too many requests"


class ChangedSince(Problem):
    status, title, code = 412, "Precondition failed", "changed_since"


class Gone(Problem):
    status, code, title = 410, "gone", "Gone"


class Unavailable(Problem):
    """A temporary failure; the response says after how many seconds to retry."""

    status, code, title = 503, "unavailable", "Unavailable"
    retry_seconds = 5


class StorageFull(Problem):
    status, code, title = 507, "storage_full", "Insufficient storage"
