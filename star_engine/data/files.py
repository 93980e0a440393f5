"""Recognises what a file is by its first bytes, and reads data files of the library."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from star_engine.data.readers import answer_field, parse_row, read_examples
from star_engine.data.row_errors import BadRows, Grouped, RowError, rows_in_words
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind

MAX_TOLD = 20  # mistakes of a file that a message names
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_AS_CSV = "Save the sheet as CSV (UTF-8) and send that."
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (  # first bytes, what it is, the fix
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)", _AS_CSV),
    (b"PK\x03\x04", "a ZIP archive", "Unpack it and send the data file itself."),
    (b"%PDF", "a PDF", "Send the rows as JSONL, CSV or Parquet."),
    (b"ARROW1", "an Arrow (Feather) file", "Write it as Parquet: df.to_parquet(...)."),
    (b"version https://git-lfs", "a Git LFS pointer, not the data", "Fetch the file first: git lfs pull."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (b"\x89HDF", "an HDF5 file", "Write it as Parquet: df.to_parquet(...)."),
    (b"<!doctype html", "a web page", "Download the file itself (on a hub: the link to the raw file)."),
    (b"<html", "a web page", "Download the file itself (on a hub: the link to the raw file)."),
    (b"<?xml", "XML", "Send the rows as JSONL, CSV or Parquet."),
    (codecs.BOM_UTF32_LE, "text in UTF-32", "Save the file as UTF-8."),
    (codecs.BOM_UTF32_BE, "text in UTF-32", "Save the file as UTF-8."),
)


def is_workbook(head: bytes) -> bool:
    """Whether the first bytes are those of an Excel workbook (.xlsx), not of another document or archive."""
    is_document = b"[Content_Types].xml" in head and not (b"word/" in head or b"ppt/" in head)
    return head.startswith(b"PK\x03\x04") and (b"xl/" in head or is_document)


def check_known(head: bytes) -> None:
    """Raise BadRows for the first bytes of a file that holds no rows we can read, naming what it is."""
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()[:100].lower()
    if is_workbook(head):
        raise _whole_file("It is an Excel workbook (.xlsx).", _AS_CSV)
    for magic, what, fix in _FOREIGN:
        if head.startswith(magic) or start.startswith(magic.lower()):
            raise _whole_file(f"It is {what}.", fix)
    if head.count(b"\x00") > len(head) // 10 and not head.startswith((*UTF16, b"PAR1")):
        reason = "It holds NUL bytes: it is binary, or UTF-16 without a byte order mark."
        raise _whole_file(reason, "Save the file as UTF-8.")


def is_json_values(head: bytes) -> bool:
    """Return whether a file begins like a JSON array of objects, or an object over several lines."""
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"["):
        return start[1:].lstrip()[:1] in (b"{", b"]", b"")
    first = start.split(b"\n", 1)[0].strip()
    return first == b"{" or (first.startswith(b"{") and b"\n" in start and first.endswith((b"[", b"{", b",")))


def as_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Re-encode UTF-16 with a byte order mark as UTF-8; pass anything else through.

    Raises BadRows for UTF-16 that cannot be decoded.
    """
    head, rest = b"", iter(chunks)
    for chunk in rest:
        head += chunk
        if len(head) >= 4:
            break
    if not head.startswith(UTF16) or head.startswith(codecs.BOM_UTF32_LE):
        yield head
        yield from rest
        return
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        yield decoder.decode(head).encode()
        for chunk in rest:
            yield decoder.decode(chunk).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as problem:
        raise _whole_file(f"Not UTF-16, as its first bytes say: {problem}.", "Save it as UTF-8.") from problem


def text_of(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark. Raises BadRows."""
    try:
        return b"".join(as_utf8([data])).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise _whole_file(f"Not UTF-8: {problem}.", "Save the file as UTF-8.") from problem


def read_file(path: Path, kind: Kind) -> list[Example]:
    """Read a file of JSONL, or a JSON array. Raises BadRows with every mistake, and OSError."""
    data = path.read_bytes()
    check_known(data[:1000])
    lines = _lines(b"".join(as_utf8([data])), path.suffix.lower())
    answers = answer_field(_rows(lines), kind)
    found = list(read_examples(lines, kind, answers))
    if errors := [one for one in found if isinstance(one, RowError)]:
        raise BadRows(errors)
    return [one for one in found if isinstance(one, Example)]


def told_once(errors: Iterable[RowError]) -> str:
    """Describe mistakes, one a line, equal ones together with their rows."""
    grouped = Grouped(MAX_TOLD)
    for error in errors:
        grouped.add(error)
    return "\n".join(
        f"{rows_in_words(lines, rows)}, {same.field}: {same.reason} {same.fix}"
        for same, (rows, lines) in grouped.found.items()
    )


def _rows(lines: Iterable[str | bytes]) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            yield parse_row(line, number)
        except BadRows:
            continue


def _lines(data: bytes, suffix: str) -> list[str | bytes]:
    if data.startswith(b"PAR1") or suffix in (".csv", ".tsv"):
        what = "Parquet" if data.startswith(b"PAR1") else "CSV"
        fix = 'Convert it to JSONL, one {"question": ..., "answer": ...} a line.'
        raise _whole_file(f"It is {what}; only JSONL and JSON arrays are read here.", fix)
    if not is_json_values(data[:1000]):
        return list(data.split(b"\n"))
    try:
        values = json.loads(data.decode("utf-8-sig"), parse_float=str)
    except (ValueError, RecursionError) as problem:
        raise _whole_file(f"Not JSON: {problem}.", "Write one JSON object per line (JSONL).") from problem
    return [json.dumps(value) for value in (values if isinstance(values, list) else [values])]


def _whole_file(reason: str, fix: str) -> BadRows:
    return BadRows([RowError(1, "file", reason, fix)])
