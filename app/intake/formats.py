"""JSONL, CSV, Parquet and Excel workbooks as rows with their line numbers, each of bounded size and depth.

Parquet and workbooks are for a process with limits only (see child.py): a small file can claim gigabytes.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import PurePath
from typing import Any, BinaryIO

from app.intake.binary.parquet import parquet_rows
from app.intake.binary.workbook import workbook_rows
from app.intake.delimited import SEPARATORS, csv_rows, has_the_columns, numbered_lines
from app.intake.json_values import json_values
from app.intake.mapping import Columns, Row, mapped
from star_engine.data.documents import pieces
from star_engine.data.files import check_known, is_json_values, is_workbook
from star_engine.data.readers import parse_row
from star_engine.data.row_errors import BadRows, bad_row, too_long

MAX_DEPTH = 32
PARQUET_MAGIC = b"PAR1"
HEAD = 64 << 10  # bytes that show what a file is


class Format(StrEnum):
    JSONL = "jsonl"
    JSON = "json"  # an array of objects
    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"  # an Excel workbook
    TEXT = "text"  # plain text, cut into documents at blank lines; of the kind documents alone


PACKED = (Format.PARQUET, Format.XLSX)  # binary, known by their first bytes


_ENDINGS = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".xlsx": Format.XLSX,
}
_TYPES = {
    "application/x-ndjson": Format.JSONL,
    "application/jsonl": Format.JSONL,
    "text/csv": Format.CSV,
    "text/tab-separated-values": Format.CSV,
    "application/vnd.apache.parquet": Format.PARQUET,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": Format.XLSX,
}


def format_of(
    file: BinaryIO, name: str, content_type: str, mapping: Columns = (), *, documents: bool = False
) -> Format:
    """Tell what a file is: by its first bytes, its name, its type; else CSV with the right header, or JSONL.

    documents: whether it holds documents; then what is none of these is plain text.

    Raises BadRows for a file that holds no rows that can be read, naming what it is.
    """
    head = file.read(HEAD)
    file.seek(0)
    if is_workbook(head):
        return Format.XLSX
    check_known(head)
    if head.startswith(PARQUET_MAGIC):
        return Format.PARQUET
    start = head.removeprefix(BOM_UTF8).lstrip()
    if is_json_values(head):
        return Format.JSON
    if start.startswith(b"{"):
        return Format.JSONL
    path = PurePath(name.casefold())
    ending = PurePath(path.stem).suffix if path.suffix in (".gz", ".zst") else path.suffix
    known = _ENDINGS.get(ending) or _TYPES.get(content_type.partition(";")[0].strip().casefold())
    if known is not None:
        return known
    first = start.split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
    table = first.lower().startswith("sep=") or any(
        has_the_columns(first, one, mapping) for one in SEPARATORS
    )
    if documents and not table:
        return Format.TEXT
    # No line of JSONL begins otherwise: what is separated is a table whose columns have other names.
    foreign = not start.startswith((b"{", b"[", b'"')) and any(one in first for one in SEPARATORS)
    return Format.CSV if table or foreign else Format.JSONL


def rows_of(
    file: BinaryIO, format_: Format, mapping: Columns | None, max_bytes: int, first: int = 1
) -> Iterator[Row]:
    """Every row that is not blank, under the names of the fields.

    mapping: None gives rows as they stand, under the names of all their columns, whatever these are called.
    max_bytes: of one row. first: the number of the first line, where a part of a JSONL file is read.
    Raises BadRows where no row can be read at all.
    """
    if format_ is Format.CSV:
        return csv_rows(file, mapping, max_bytes)
    if format_ is Format.JSON:
        return _json(file, mapping, max_bytes)
    if format_ is Format.PARQUET:
        return parquet_rows(file, mapping, max_bytes)
    if format_ is Format.XLSX:
        return workbook_rows(file, mapping, max_bytes)
    if format_ is Format.TEXT:
        return _documents(file, max_bytes)
    return _jsonl(file, mapping, max_bytes, first)


def _documents(file: BinaryIO, max_bytes: int) -> Iterator[Row]:
    """The documents of a plain text. Raises BadRows for a line that is too long, or no UTF-8."""

    def lines() -> Iterator[tuple[int, str]]:
        for line, text in numbered_lines(file, max_bytes):
            if text is None:
                raise too_long(line, max_bytes)
            try:
                yield line, text.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError as problem:
                raise bad_row(line, f"Not UTF-8: {problem}.", "Save the file as UTF-8.") from problem

    for line, text in pieces(lines()):
        yield line, {"text": text}


def _jsonl(file: BinaryIO, mapping: Columns | None, max_bytes: int, first: int) -> Iterator[Row]:
    for line, text in numbered_lines(file, max_bytes, first):
        if text is None:
            yield line, too_long(line, max_bytes)
        elif text.strip():
            yield line, _parsed(text, mapping, line)


def _json(file: BinaryIO, mapping: Columns | None, max_bytes: int) -> Iterator[Row]:
    for number, row in json_values(file, max_bytes):
        yield number, row if isinstance(row, BadRows) else _mapped(row, mapping, number)


def _mapped(row: Mapping[str, Any], mapping: Columns | None, line: int) -> Mapping[str, Any] | BadRows:
    try:
        if _deeper(row, MAX_DEPTH):
            return _too_deep(line)
        return mapped(row, mapping, line)
    except BadRows as bad:
        return bad


def _too_deep(line: int) -> BadRows:
    return bad_row(line, f"Nested deeper than {MAX_DEPTH}.", "A row is an object of texts and numbers.")


def _parsed(text: bytes, mapping: Columns | None, line: int) -> Mapping[str, Any] | BadRows:
    try:
        row = parse_row(text, line)
        if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _deeper(row, MAX_DEPTH):
            return _too_deep(line)
        return mapped(row, mapping, line)
    except BadRows as bad:
        return bad


def _deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper(one, depth - 1) for one in inner)
