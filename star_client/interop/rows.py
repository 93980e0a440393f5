"""What a dataset may be uploaded from beside a file: rows, or a DataFrame of pandas or polars."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from numbers import Real
from pathlib import PurePath
from typing import Any, Protocol
from uuid import UUID


class DataFrame(Protocol):
    """As pandas and polars have it; neither is needed to import this package."""

    @property
    def columns(self) -> Any: ...


def as_json_lines(rows: Any) -> bytes:
    """One JSON object a line, in UTF-8. Empty cells (None, NaN, NaT, NA) are left out of their row.

    Raises TypeError for what is neither rows nor a DataFrame, and for a value that JSON has no form of,
    naming the row and the field.
    """
    return b"".join(_line(_object(row, number), number) for number, row in enumerate(_records(rows), start=1))


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
    """None, NaN of whichever type, and what pandas and numpy have in place of a missing value."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return (isinstance(value, Real | Decimal) or getattr(value, "shape", None) == ()) and value != value


def _line(row: Mapping[str, Any], number: int) -> bytes:
    try:
        return _json(row) + b"\n"
    except (TypeError, ValueError, RecursionError):
        for name, value in row.items():
            try:
                _json({name: value})
            except (TypeError, ValueError, RecursionError) as failure:
                raise TypeError(
                    f"Row {number}, {name}: {failure}. Give text, a finite number, a truth value, or lists "
                    "and dicts of these."
                ) from failure
        raise


def _json(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, default=_plain, ensure_ascii=False, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    """Arrays and numbers of numpy, dates and the like. Raises TypeError for any other type."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Decimal | UUID | PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no type of JSON")
