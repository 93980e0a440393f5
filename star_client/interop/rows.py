"""What a dataset may be uploaded from beside a file: rows, or a DataFrame of pandas or polars."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class DataFrame(Protocol):
    """As pandas and polars have it; neither is needed to import this package."""

    @property
    def columns(self) -> Any: ...


def as_json_lines(rows: Any) -> bytes:
    """One JSON object a line, in UTF-8. Empty cells of a DataFrame (NaN, None) are left out of their row.

    Raises TypeError for what is neither rows nor a DataFrame, naming the row.
    """
    return b"".join(
        json.dumps(_object(row, number), default=_plain, ensure_ascii=False).encode() + b"\n"
        for number, row in enumerate(_records(rows), start=1)
    )


def _records(rows: Any) -> Iterable[Any]:
    if hasattr(rows, "to_dicts"):  # polars
        return rows.to_dicts()  # type: ignore[no-any-return]
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # pandas
        return rows.to_dict(orient="records")  # type: ignore[no-any-return]
    if isinstance(rows, Mapping | bytes) or not isinstance(rows, Iterable):
        raise TypeError(f"A {type(rows).__name__} is no dataset: give a path, rows (dicts) or a DataFrame.")
    return rows


def _object(row: Any, number: int) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise TypeError(f"Row {number} is a {type(row).__name__}: give a dict with question and answer.")
    return {str(name): value for name, value in row.items() if not _is_empty(value)}


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """Arrays and numbers of numpy, dates and the like."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
