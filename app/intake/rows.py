"""Defines a row of a file, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from star_engine.data.row_errors import BadRows, RowError

Row = tuple[int, Mapping[str, Any] | BadRows]  # line, counted from 1, and what stands there


def too_long(line: int, most_bytes: int) -> BadRows:
    return bad_row(line, f"Longer than {most_bytes} bytes.", "Shorten it; a row holds one question.")


def bad_row(line: int, reason: str, fix: str) -> BadRows:
    return BadRows([RowError(line, "row", reason, fix)])
