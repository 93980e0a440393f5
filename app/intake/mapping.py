"""Which column of a file is which field of a row, where the two are not called the same."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.errors import Invalid
from star_engine.data.columns import ANSWERS, FIELDS, column_for
from star_engine.data.row_errors import BadRows, RowError
from star_engine.tasks.kind import Kind, reads_documents

SEVERAL = ("choices", "question")  # fields that may take several columns; a question joins their texts
TEXT = "text"  # the only field of a document besides id, group and split
MAX_COLUMNS = 64
Columns = tuple[tuple[str, tuple[str, ...]], ...]  # field -> columns; several make the choices, or are joined
Row = tuple[int, Mapping[str, Any] | BadRows]  # line, counted from 1, and what stands there
_HOW = 'Write map=question:prompt,answer:label, or JSON: {"question": "prompt", "choices": ["A", "B"]}.'


def parse_mapping(text: str | None) -> Columns:
    """The mapping of a request, sorted by field. Raises Invalid with what to write instead."""
    if not text:
        return ()
    pairs = _from_json(text) if text.lstrip().startswith("{") else _from_pairs(text)
    for field, columns in pairs.items():
        if field not in (*FIELDS, TEXT):
            raise _bad_mapping(f"A row has no field {field!r}.", f"Map to {', '.join((*FIELDS, TEXT))}.")
        if len(columns) != 1 and field not in SEVERAL:
            fix = "Only choices and question take several columns."
            raise _bad_mapping(f"{field!r} is mapped {len(columns)} times.", fix)
    if sum(map(len, pairs.values())) > MAX_COLUMNS:
        raise _bad_mapping("It names too many columns.", f"Name at most {MAX_COLUMNS}.")
    return tuple(sorted((field, tuple(columns)) for field, columns in pairs.items()))


def with_text(mapping: Columns, kind: Kind) -> Columns:
    """The mapping, which for documents says where their text is."""
    if not reads_documents(kind) or TEXT in dict(mapping):
        return mapping
    return (*mapping, (TEXT, (TEXT,)))


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


def check_columns(names: Sequence[str], mapping: Columns | None) -> None:
    """Raise BadRows if a table's columns cannot make a row: once, and not again for every row.

    mapping: None where nobody has said yet which column is which: then any will do.
    """
    if mapping is None:
        return
    sources = {column for _, columns in mapping for column in columns}
    there = {*names, *(source for source in sources if _head(source) in names)}
    errors = [
        RowError(1, column, "There is no such column.", f"Map one of {_listed(names)}.")
        for column in sorted(sources - there)
    ]
    fields = {field for field, _ in mapping} | (set(names) - sources)
    if TEXT in dict(mapping):  # documents are neither asked nor answered
        if errors:
            raise BadRows(errors)
        return
    answers = fields & {*ANSWERS, "answerKey"}
    for field in ("question", *(() if answers else ("answer",))):
        if field not in fields:
            meant = column_for(field, tuple(name for name in names if name not in sources))
            reason = f"No column is called so; there are {_listed(names)}."
            columns = ((field, meant or "COLUMN"),)
            errors.append(RowError(1, field, reason, "Name a column so.", columns=columns))
    if errors:
        raise BadRows(errors)


def mapped(row: Mapping[str, Any], mapping: Columns | None, line: int) -> Mapping[str, Any]:
    """The row under the names of the fields. Raises BadRows where it lacks a column of question or answer.

    An option without a text is None, so that later options keep their letters.
    """
    if not mapping:
        return row
    sources = {column for _, columns in mapping for column in columns}
    native = {name: value for name, value in row.items() if name not in sources}
    fields = {field for field, _ in mapping}
    if fields & {*ANSWERS[1:]} and "answer" not in fields:
        native.pop("answer", None)  # the mapping says which column is the answer
    errors = []
    for field, columns in mapping:
        values = [_filled(column_value(row, column)) for column in columns]
        if field == "question" or field in ANSWERS:
            errors += [
                RowError(
                    line,
                    field,
                    f"The column {column!r}, mapped to it, is missing or empty.",
                    "Fill it in, or correct the mapping.",
                )
                for column, value in zip(columns, values, strict=True)
                if value is None
            ]
        if field == "choices":
            native[field] = values if len(columns) > 1 else values[0]
        else:
            native[field] = values[0] if len(columns) == 1 else " ".join(str(one).strip() for one in values)
    if errors:
        missing = {error.field for error in errors}
        raise BadRows(errors, {field: value for field, value in native.items() if field not in missing})
    return native


def _filled(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def column_value(row: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column, or of a path into one: messages.0.content."""
    if column in row or "." not in column:
        return row.get(column)
    found: Any = row
    for part in column.split("."):
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            return None
    return found


def _head(column: str) -> str:
    return column.partition(".")[0]


def read_from(names: Sequence[str], mapping: Columns | None) -> list[str]:
    """Return the columns of a table that a row is made of; all of them where there is no mapping yet."""
    if mapping is None:
        return list(names)
    sources = {column for _, columns in mapping for column in columns}
    known = {*FIELDS, "messages", "answerKey", *sources, *(_head(one) for one in sources)}
    return [name for name in names if name in known]


def fixes_in_http(errors: Sequence[RowError], mapping: Columns) -> list[RowError]:
    """Add to the fixes of a row's mistakes the mapping that would fix them: map=question:prompt."""
    sources = {field: columns[0] for field, columns in mapping}
    wanted: dict[str, str] = {}
    for error in errors:
        if len({column for _, column in error.columns}) == len(error.columns):
            wanted |= {field: sources.get(column, column) for field, column in error.columns}
    return [
        replace(one, fix=_fix(one, wanted, mapping), columns=()) if one.columns else one for one in errors
    ]


def _fix(error: RowError, wanted: Mapping[str, str], mapping: Columns) -> str:
    sources = {field: columns[0] for field, columns in mapping}
    if all(field in wanted for field, _ in error.columns):
        ways = [_written(wanted, mapping)]
    else:  # one column, which may be any of these fields
        ways = [_written({field: sources.get(was, was)}, mapping) for field, was in error.columns]
    return f"{error.fix} Or map it: {' or '.join(ways)}."


def _written(wanted: Mapping[str, str], mapping: Columns) -> str:
    """Write the whole mapping the way a request does."""
    kept = [(field, columns) for field, columns in mapping if not {*columns} & {*wanted.values()}]
    pairs = [f"{field}:{column}" for field, columns in kept for column in columns]
    return "map=" + ",".join([*pairs, *(f"{field}:{column}" for field, column in wanted.items())])


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in list(names)[:20])
    return shown + (", ..." if len(names) > 20 else "") or "none"
