"""Reads CSV, whatever separates its cells."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from app.intake.mapping import Columns, Row, check_columns, mapped
from star_engine.data.row_errors import BadRows, RowError, bad_row, too_long

SEPARATORS = ",;\t|"
_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
Lines = Iterator[tuple[int, bytes | None]]


def csv_rows(file: BinaryIO, mapping: Columns | None, max_bytes: int) -> Iterator[Row]:
    """Yield the records under the names of the fields. Raises BadRows for a header that cannot be used."""
    csv.field_size_limit(max_bytes)
    separator, said = _separator(file, mapping or (), max_bytes)
    lines = numbered_lines(file, max_bytes)
    text = _Text(lines, max_bytes)
    if said:  # "sep=;", which Excel writes and reads
        next(text)
    names: list[str] | None = None
    for line, record in _records(text, separator):
        if isinstance(record, BadRows):
            yield line, record
        elif names is None:
            names = header(record)
            check_columns(names, mapping)
        elif any(cell.strip() for cell in record):
            yield line, _from_cells(names, record, mapping, line, separator)


def has_the_columns(first: str, separator: str, mapping: Columns) -> bool:
    """Return whether a line, split so, is the header of a table of questions and answers."""
    try:
        names = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
        check_columns(names, mapping)
    except (csv.Error, BadRows):
        return False
    return True


def numbered_lines(file: BinaryIO, max_bytes: int, first: int = 1) -> Lines:
    """Yield a file's lines with their numbers; None for one that is too long, of which no more is held."""
    line = first - 1
    while text := file.readline(max_bytes + 1):
        line += 1
        if len(text) <= max_bytes:
            yield line, text
            continue
        while text and not text.endswith(b"\n"):
            text = file.readline(max_bytes)
        yield line, None


def _separator(file: BinaryIO, mapping: Columns, max_bytes: int) -> tuple[str, bool]:
    """Return what separates the cells, and whether a line of its own says so.

    The comma, unless it makes no header with the needed columns and another character does. Where none does,
    the character that makes the most columns: its header is what the refusal shows.
    """
    first = file.readline(max_bytes + 1).decode("utf-8-sig", "replace").rstrip("\r\n")
    file.seek(0)
    if first.lower().startswith("sep=") and len(first) == 5:
        return first[4], True
    for separator in SEPARATORS:
        if has_the_columns(first, separator, mapping):
            return separator, False
    return max(SEPARATORS, key=first.count), False


@dataclass(slots=True)
class _Text:
    """Decodes lines for the csv module. It goes on after an error, which a generator would not."""

    lines: Lines
    max_bytes: int
    line: int = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.line, text = next(self.lines)
        if text is None:
            raise too_long(self.line, self.max_bytes)
        try:
            return text.decode("utf-8-sig" if self.line == 1 else "utf-8")
        except UnicodeDecodeError as problem:
            raise bad_row(self.line, f"Not UTF-8: {problem}.", "Save the file as UTF-8.") from problem


def _records(text: _Text, separator: str) -> Iterator[tuple[int, list[str] | BadRows]]:
    """Yield records with their first line. After one that cannot be read, the next line starts a new one."""
    reader = csv.reader(text, strict=True, delimiter=separator)
    while True:
        began = text.line + 1
        try:
            yield began, next(reader)
        except StopIteration:
            return
        except BadRows as bad:
            yield text.line, bad
        except csv.Error as problem:
            fix = f'Quote a cell with a {_NAMES.get(separator, separator)} or a quote: "a ""b""".'
            yield began, bad_row(began, f"Not CSV: {problem}.", fix)


def header(record: list[str]) -> list[str]:
    """The names of the columns. Raises BadRows where two are the same."""
    names = [name.strip() for name in record]
    if len(set(names)) < len(names):
        raise bad_row(1, "Two columns have one name.", "Give every column a name of its own.")
    return names


def _from_cells(
    names: list[str], record: list[str], mapping: Columns | None, line: int, separator: str
) -> Mapping[str, Any] | BadRows:
    if len(record) != len(names):
        reason = f"It has {len(record)} cells, the header {len(names)}."
        return bad_row(line, reason, f"Quote cells that hold a {_NAMES.get(separator, separator)}.")
    return row_of_cells(dict(zip(names, record, strict=True)), mapping, line)


def row_of_cells(cells: Mapping[str, str], mapping: Columns | None, line: int) -> Mapping[str, Any] | BadRows:
    """The row under the names of the fields; cells without a text are left out."""
    if mapping is None:
        return dict(cells)
    errors: list[RowError] = []
    try:
        row = dict(mapped({name: cell for name, cell in cells.items() if cell.strip()}, mapping, line))
    except BadRows as bad:
        row, errors = dict(bad.rest), [*bad.errors]
    try:
        if isinstance(choices := row.get("choices"), str):
            row["choices"] = json.loads(choices)
    except (ValueError, RecursionError):
        fix = 'Write ["first", "second"], or map several columns: map=choices:A,choices:B.'
        errors.append(RowError(line, "choices", "The cell is no JSON list.", fix))
        del row["choices"]
    return BadRows(errors, row) if errors else row
