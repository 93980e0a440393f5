"""Conditional requests and byte ranges (RFC 9110 sections 13 and 14) for downloads and pollers."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
