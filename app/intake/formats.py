"""JSONL, CSV and Parquet as rows with their line numbers, one at a time, each of bounded size and depth.

Parquet is for a process with limits only (see child.py): a file of 300 bytes can claim gigabytes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any, BinaryIO

from app.intake.mapping import Columns, check_columns, mapped
from app.intake.parquet import parquet_rows
from app.intake.rows import Row, bad_row, too_long
from star_engine.data.readers import parse_row
from star_engine.data.row_errors import BadRows, RowError

MAX_DEPTH = 32
PARQUET_MAGIC = b"PAR1"


class Format(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


_ENDINGS = {".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".csv": Format.CSV, ".parquet": Format.PARQUET}
_TYPES = {
    "application/x-ndjson": Format.JSONL,
    "application/jsonl": Format.JSONL,
    "text/csv": Format.CSV,
    "application/vnd.apache.parquet": Format.PARQUET,
}


def format_of(file: BinaryIO, name: str, content_type: str) -> Format:
    """What a file is: by its first bytes (Parquet), its name, its type; else JSONL."""
    head = file.read(len(PARQUET_MAGIC))
    file.seek(0)
    if head == PARQUET_MAGIC:
        return Format.PARQUET
    path = PurePath(name.casefold())
    ending = PurePath(path.stem).suffix if path.suffix in (".gz", ".zst") else path.suffix
    of_type = _TYPES.get(content_type.partition(";")[0].strip().casefold(), Format.JSONL)
    return _ENDINGS.get(ending, of_type)


def rows_of(
    file: BinaryIO, format_: Format, mapping: Columns, most_bytes: int, first: int = 1
) -> Iterator[Row]:
    """Every row that is not blank, under the names of the fields.

    most_bytes: of one row. first: the number of the first line, where a part of a JSONL file is read.
    Raises BadRows where no row can be read at all.
    """
    if format_ is Format.CSV:
        return _csv(file, mapping, most_bytes)
    if format_ is Format.PARQUET:
        return parquet_rows(file, mapping, most_bytes)
    return _jsonl(file, mapping, most_bytes, first)


def _jsonl(file: BinaryIO, mapping: Columns, most_bytes: int, first: int) -> Iterator[Row]:
    for line, text in _lines(file, most_bytes, first):
        if text is None:
            yield line, too_long(line, most_bytes)
        elif text.strip():
            yield line, _parsed(text, mapping, line)


def _parsed(text: bytes, mapping: Columns, line: int) -> Mapping[str, Any] | BadRows:
    try:
        row = parse_row(text, line)
        if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _deeper(row, MAX_DEPTH):
            return bad_row(
                line, f"Nested deeper than {MAX_DEPTH}.", "A row is an object of texts and numbers."
            )
        return mapped(row, mapping, line)
    except BadRows as bad:
        return bad


def _deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper(one, depth - 1) for one in inner)


def _lines(file: BinaryIO, most_bytes: int, first: int = 1) -> Iterator[tuple[int, bytes | None]]:
    """A file's lines with their numbers; None for one that is too long, of which no more is held."""
    line = first - 1
    while text := file.readline(most_bytes + 1):
        line += 1
        if len(text) <= most_bytes:
            yield line, text
            continue
        while text and not text.endswith(b"\n"):
            text = file.readline(most_bytes)
        yield line, None


@dataclass(slots=True)
class _Text:
    """Lines for the csv module, decoded. It goes on after an error, which a generator would not."""

    lines: Iterator[tuple[int, bytes | None]]
    most_bytes: int
    line: int = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.line, text = next(self.lines)
        if text is None:
            raise too_long(self.line, self.most_bytes)
        try:
            return text.decode("utf-8-sig" if self.line == 1 else "utf-8")
        except UnicodeDecodeError as problem:
            raise bad_row(self.line, f"Not UTF-8: {problem}.", "Save the file as UTF-8.") from problem


def _csv(file: BinaryIO, mapping: Columns, most_bytes: int) -> Iterator[Row]:
    csv.field_size_limit(most_bytes)
    names: list[str] | None = None
    for line, record in _records(_Text(_lines(file, most_bytes), most_bytes)):
        if isinstance(record, BadRows):
            yield line, record
        elif names is None:
            names = _header(record)
            check_columns(names, mapping)
        elif any(cell.strip() for cell in record):
            yield line, _from_cells(names, record, mapping, line)


def _records(text: _Text) -> Iterator[tuple[int, list[str] | BadRows]]:
    """Records with their first line. One that cannot be read is an error, and the next line begins anew."""
    reader = csv.reader(text, strict=True)
    while True:
        began = text.line + 1
        try:
            yield began, next(reader)
        except StopIteration:
            return
        except BadRows as bad:
            yield text.line, bad
        except csv.Error as problem:
            yield (
                began,
                bad_row(began, f"Not CSV: {problem}.", 'Quote a cell with a comma or a quote: "a ""b""".'),
            )


def _header(record: list[str]) -> list[str]:
    names = [name.strip() for name in record]
    if len(set(names)) < len(names):
        raise bad_row(1, "Two columns have one name.", "Give every column a name of its own.")
    return names


def _from_cells(
    names: list[str], record: list[str], mapping: Columns, line: int
) -> Mapping[str, Any] | BadRows:
    if len(record) != len(names):
        reason = f"It has {len(record)} cells, the header {len(names)}."
        return bad_row(line, reason, "Quote cells that hold a comma.")
    cells: dict[str, Any] = {name: cell for name, cell in zip(names, record, strict=True) if cell.strip()}
    try:
        row = dict(mapped(cells, mapping, line))
        choices = row.get("choices")
        if isinstance(choices, str):
            row["choices"] = json.loads(choices)
        return row
    except BadRows as bad:
        return bad
    except (ValueError, RecursionError):
        fix = 'Write ["first", "second"], or map several columns: map=choices:A,choices:B.'
        return BadRows([RowError(line, "choices", "The cell is no JSON list.", fix)])
