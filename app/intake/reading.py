"""One pass over an upload: every row verified, every bad one counted, the first of them described."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

from app.errors import FieldError
from app.intake.formats import Format, rows_of
from app.intake.mapping import Columns
from app.intake.scratch import Scratch
from app.intake.statistics import statistics
from star_engine.config import Kind
from star_engine.examples import Example
from star_engine.readers import BadRows, RowError, read_example

MOST_TEXT = 500  # characters of a reason: it may quote what the row holds


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a file. Goes to a child process as JSON."""

    format: Format
    kind: Kind
    validation: int  # rows to carve as held-out split where no row says that it is one
    seed: int
    mapping: Columns
    max_line_bytes: int
    max_rows: int
    max_row_errors: int

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Reading:
        given = json.loads(text)
        mapping = tuple((name, tuple(columns)) for name, columns in given.pop("mapping"))
        format_, kind = Format(given.pop("format")), Kind(given.pop("kind"))
        return cls(**given, mapping=mapping, format=format_, kind=kind)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. The rows follow it, and only where none is bad."""

    bad_rows: int
    errors: tuple[FieldError, ...]  # of the first bad rows
    splits: dict[str, int] = field(default_factory=dict)
    statistics: dict[str, Any] | None = None

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Report:
        given: dict[str, Any] = json.loads(text)
        errors = tuple(FieldError(**error) for error in given.pop("errors"))
        return cls(**given, errors=errors)


def read_upload(file: BinaryIO, how: Reading, out: BinaryIO) -> None:
    """Write the report as one line of JSON, then the columns of every example, one line each."""
    mistakes = _Mistakes(how.max_row_errors)
    with Scratch(how.seed) as scratch:
        try:
            _read(file, how, scratch, mistakes)
        except BadRows as bad:  # of the file as a whole
            mistakes.add(bad.errors)
        scratch.finish()
        mistakes.repeated(*scratch.repeated_ids(how.max_row_errors))
        counted = None
        if not mistakes.bad_rows:
            scratch.carve(how.validation)
            counted = statistics(scratch.db)
        report = Report(mistakes.bad_rows, mistakes.listed(), scratch.splits(), counted)
        out.write(report.as_json().encode() + b"\n")
        if not mistakes.bad_rows:
            out.writelines(json.dumps(row).encode() + b"\n" for row in scratch.rows())


def _read(file: BinaryIO, how: Reading, scratch: Scratch, mistakes: _Mistakes) -> None:
    rows = rows_of(file, how.format, how.mapping, how.max_line_bytes)
    for number, (line, row) in enumerate(rows):
        if number == how.max_rows:
            mend = "Split the file into several datasets."
            raise BadRows([RowError(line, "row", f"The file holds more than {how.max_rows} rows.", mend)])
        try:
            example = _example(row, how, line)
        except BadRows as bad:
            mistakes.add(bad.errors)
        else:
            scratch.add(line, example)


def _example(row: Any, how: Reading, line: int) -> Example:
    if isinstance(row, BadRows):
        raise row
    return read_example(row, how.kind, line=line)


@dataclass(slots=True)
class _Mistakes:
    most: int
    bad_rows: int = 0
    errors: list[RowError] = field(default_factory=list)

    def add(self, errors: Iterable[RowError]) -> None:
        self.bad_rows += 1
        if len(self.errors) < self.most:
            self.errors.extend(errors)

    def repeated(self, count: int, errors: list[RowError]) -> None:
        self.bad_rows += count
        self.errors += errors

    def listed(self) -> tuple[FieldError, ...]:
        first = sorted(self.errors, key=lambda error: error.line)[: self.most]
        return tuple(FieldError(_cut(e.field), _cut(e.reason), _cut(e.mend), e.line) for e in first)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "..."
