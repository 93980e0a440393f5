"""Rows of a file that its owner changes or leaves out, without sending another file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.errors import Invalid
from app.intake.mapping import TEXT, Row
from star_engine.data.columns import ANSWERS, FIELDS
from star_engine.data.row_errors import BadRows, bad_row

MOST = 1000  # rows that one upload may correct by hand
_HOW = 'Write {"13": null, "15": {"answer": "4"}}: null leaves a row out, an object replaces fields of it.'
Fields = tuple[tuple[str, Any], ...]
Corrections = tuple[tuple[int, Fields | None], ...]  # by line; None: the row is left out


def parse_corrections(text: str | None) -> Corrections:
    """The corrections of a request, by line. Raises Invalid with what to write instead."""
    if not text:
        return ()
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise _refused(f"Not JSON: {problem}.") from problem
    if not isinstance(given, dict):
        raise _refused("Not a JSON object.")
    if len(given) > MOST:
        raise _refused(f"It corrects {len(given)} rows, and at most {MOST} may be.")
    found = {_line(line): _fields(line, fields) for line, fields in given.items()}
    if len(found) < len(given):
        raise _refused("It names a row twice.")
    return tuple(sorted(found.items()))


def _line(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10):
        raise _refused(f"{text[:40]!r} is no row.")
    return int(text)


def _fields(line: str, fields: Any) -> Fields | None:
    if fields is None:
        return None
    if not isinstance(fields, dict):
        raise _refused(f"Row {line} is neither an object nor null.")
    for name, value in fields.items():
        if name not in (*FIELDS, TEXT):
            raise _refused(f"A row has no field {name[:40]!r}.")
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) for one in texts):
            raise _refused(f"{name} of row {line} is no text.")
    return tuple(sorted((name, _frozen(value)) for name, value in fields.items()))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _refused(reason: str) -> Invalid:
    detail = f"The corrections cannot be used. {reason}"
    return Invalid.for_field("corrections", reason, _HOW, code="invalid_corrections", detail=detail)


def corrected(rows: Iterable[Row], corrections: Corrections, left_out: frozenset[int]) -> Iterator[Row]:
    """The rows as corrected, without those that are left out. Lines keep their numbers.

    Of a row that could not be read, what was read all the same is kept (BadRows.rest), often nothing.
    """
    by_line = dict(corrections)
    for line, row in rows:
        if line in left_out or (line in by_line and by_line[line] is None):
            continue
        yield line, (_changed(row, by_line[line] or ()) if line in by_line else row)


def all_there(rows: Iterable[Row], corrections: Corrections) -> Iterator[Row]:
    """The rows. Raises BadRows at their end where a row that is to be corrected was not among them."""
    missing = {line for line, _ in corrections}
    for line, row in rows:
        missing.discard(line)
        yield line, row
    if missing:
        fix = "Name rows by their lines, as errors and previews do."
        raise bad_row(min(missing), "The file has no such row to correct.", fix)


def _changed(row: Mapping[str, Any] | BadRows, fields: Fields) -> Mapping[str, Any]:
    new = {name: list(value) if isinstance(value, tuple) else value for name, value in fields}
    read = row.rest if isinstance(row, BadRows) else row
    others = {*ANSWERS} if {*ANSWERS} & new.keys() else set()  # only one of them may stand in a row
    return {**{name: value for name, value in read.items() if name not in others}, **new}
