"""Conditional requests and byte ranges (RFC 9110 sections 13 and 14) for downloads and pollers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.errors import ChangedSince
from app.tables.base import Base

Out = TypeVar("Out", bound=BaseModel)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Unsatisfiable(ValueError):
    """A range that holds no byte of the file: 416."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    start: int
    stop: int  # exclusive


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has this version already."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def etag_of(shown: BaseModel) -> str:
    """The version of an object: a hash of what is shown of it."""
    return f'"{sha256(shown.model_dump_json().encode()).hexdigest()[:32]}"'


def tagged(response: Response, shown: Out) -> Out:
    """The same, with its ETag in the response's headers."""
    response.headers["ETag"] = etag_of(shown)
    return shown


@dataclass(frozen=True, slots=True)
class Expected:
    """The version of an object that a change is meant for; None: whatever there is."""

    if_match: str | None = None

    def check(self, session: Session, row: Base, show: Callable[[], BaseModel]) -> None:
        """Lock the row until the change is recorded. Raises ChangedSince for another version than meant."""
        if self.if_match is None:
            return
        session.refresh(row, with_for_update={"key_share": True})
        if not matches(self.if_match, etag_of(show())):
            raise ChangedSince(
                "The object has changed since it was read: If-Match names another version. Read it again, "
                "and send the change with its new ETag if it is still wanted."
            )


ANY_VERSION = Expected()


async def _expected(
    if_match: Annotated[
        str | None,
        Header(max_length=1000, description="The ETag of what is to be changed; 412 if it changed since."),
    ] = None,
) -> Expected:
    return Expected(if_match)


IfMatch = Annotated[Expected, Depends(_expected)]


def requested_range(range_: str | None, if_range: str | None, etag: str, size: int) -> ByteRange | None:
    """The one range that is asked for; None for the whole file. Raises Unsatisfiable.

    Whatever is not one well-formed range is ignored, as the standard allows: many small ranges in one request
    keep a server busy (CVE-2025-62727). So is a range of another version of the file (If-Range).
    """
    match = _RANGE.fullmatch(range_.strip()) if range_ is not None else None
    if match is None or match[0] == "bytes=-" or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = match[1], match[2]
    if not first:  # the last N bytes
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise Unsatisfiable(f"{range_} of {size} bytes")
    return ByteRange(start, stop)
