"""Which column of a file is which field of a row, where the two are not called the same."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from app.errors import Invalid
from star_engine.data.readers import BadRows, RowError

FIELDS = ("question", "answer", "choices", "solution", "group", "id", "split")
MAX_COLUMNS = 64
Columns = tuple[tuple[str, tuple[str, ...]], ...]  # field -> columns; several make the list of choices
_HOW = 'Write map=question:prompt,answer:label, or JSON: {"question": "prompt", "choices": ["A", "B"]}.'


def parse_mapping(text: str | None) -> Columns:
    """The mapping of a request, sorted by field. Raises Invalid with what to write instead."""
    if not text:
        return ()
    pairs = _from_json(text) if text.lstrip().startswith("{") else _from_pairs(text)
    for field, columns in pairs.items():
        if field not in FIELDS:
            raise _bad_mapping(f"A row has no field {field!r}.", f"Map to {', '.join(FIELDS)}.")
        if len(columns) != 1 and field != "choices":
            raise _bad_mapping(
                f"{field!r} is mapped {len(columns)} times.", "Only choices take several columns."
            )
    if sum(map(len, pairs.values())) > MAX_COLUMNS:
        raise _bad_mapping("It names too many columns.", f"Name at most {MAX_COLUMNS}.")
    return tuple(sorted((field, tuple(columns)) for field, columns in pairs.items()))


def _from_pairs(text: str) -> dict[str, list[str]]:
    pairs: dict[str, list[str]] = {}
    for pair in text.split(","):
        field, colon, column = (part.strip() for part in pair.partition(":"))
        if not (field and colon and column):
            raise _bad_mapping(f"{pair!r} is no pair of a field and a column.", _HOW)
        pairs.setdefault(field, []).append(column)
    return pairs


def _from_json(text: str) -> dict[str, list[str]]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise _bad_mapping(f"Not JSON: {problem}.", _HOW) from problem
    pairs = {field: [columns] if isinstance(columns, str) else columns for field, columns in given.items()}
    for columns in pairs.values():
        if not isinstance(columns, list) or not all(isinstance(name, str) and name for name in columns):
            raise _bad_mapping("A column is no name.", _HOW)
    return pairs


def _bad_mapping(reason: str, fix: str) -> Invalid:
    detail = f"The mapping of columns cannot be used. {reason}"
    return Invalid.for_field("map", reason, fix, code="invalid_map", detail=detail)


def check_columns(names: Collection[str], mapping: Columns) -> None:
    """Raise BadRows if a table's columns cannot make a row: once, and not again for every row."""
    sources = {column for _, columns in mapping for column in columns}
    errors = [
        RowError(1, column, "There is no such column.", f"Map one of {_listed(names)}.")
        for column in sorted(sources - set(names))
    ]
    fields = {field for field, _ in mapping} | (set(names) - sources)
    needed = {"question"} if "answerKey" in fields else {"question", "answer"}
    for field in sorted(needed - fields):
        near = get_close_matches(field, sorted(names), n=1, cutoff=0.6)
        fix = f"Name a column so, or map one: map={field}:{near[0] if near else 'COLUMN'}."
        errors.append(RowError(1, field, f"No column is called so; there are {_listed(names)}.", fix))
    if errors:
        raise BadRows(errors)


def mapped(row: Mapping[str, Any], mapping: Columns, line: int) -> Mapping[str, Any]:
    """The row under the names of the fields. Raises BadRows where it lacks a column of question or answer."""
    if not mapping:
        return row
    sources = {column for _, columns in mapping for column in columns}
    native = {name: value for name, value in row.items() if name not in sources}
    errors = []
    for field, columns in mapping:
        values = [row[column] for column in columns if row.get(column) not in (None, "")]
        if not values and field in ("question", "answer"):
            reason = f"The column {columns[0]!r}, mapped to it, is missing or empty."
            errors.append(RowError(line, field, reason, "Fill it in, or correct the mapping."))
        native[field] = values if len(columns) > 1 else (values[0] if values else None)
    if errors:
        raise BadRows(errors)
    return native


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in list(names)[:20])
    return shown + (", ..." if len(names) > 20 else "") or "none"
