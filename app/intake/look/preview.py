"""Looks at a file as an upload would read it: its columns, its first rows, and what the bad ones hold.

Nothing is stored. What nobody has said, the kind and which column is which, is guessed and shown.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from app.errors import FieldError
from app.intake.formats import rows_of
from app.intake.lines import fields_of
from app.intake.look.corrections import corrected
from app.intake.look.guess import MAX_ROWS, guess_kind, guess_mapping
from app.intake.mapping import TEXT, Columns, column_value, with_text
from app.intake.reading import Reading, Report, read_upload
from star_engine.data.columns import ANSWERS, FIELDS
from star_engine.data.row_errors import BadRows
from star_engine.tasks.kind import Kind
from star_engine.tasks.starting.likely import PLAIN

SHOWN = 8  # first rows
SHOWN_BAD = 50  # bad rows with what they hold
SAMPLES = 3  # values of a column
LONGEST = 2000  # characters of a value that is shown


@dataclass(frozen=True, slots=True)
class Preview:
    """What there is to see before an upload. `rows` are empty where a row is bad: `bad` shows those first."""

    kind: Kind | None  # None: it was not said, and no row tells
    mapping: Columns
    columns: list[dict[str, Any]]  # name, and samples of its values as texts
    first: list[dict[str, Any]]  # rows as they stand: line, and given: field to text
    rows: list[dict[str, Any]]  # the same as they were read
    bad: list[dict[str, Any]]  # line, given, and mistakes: field, reason and fix
    bad_rows: int
    errors: list[dict[str, Any]]  # FieldError, equal mistakes together
    splits: dict[str, int]
    statistics: dict[str, Any] | None  # None where a row is bad

    @staticmethod
    def from_json(text: bytes) -> Preview:
        given = json.loads(text)
        mapping = tuple((name, tuple(columns)) for name, columns in given.pop("mapping"))
        kind = given.pop("kind")
        return Preview(**given, mapping=mapping, kind=kind and Kind(kind))


def guessed(file: BinaryIO, how: Reading) -> tuple[Reading, bool]:
    """How to read the file, with what was not said guessed by its first rows; and whether a kind is known."""
    look = how.look or ()
    head = [row for _, row in islice(_raw(file, how), MAX_ROWS)]
    file.seek(0)
    mapping = guess_mapping(head) if "map" in look else how.mapping
    kind = guess_kind(head, mapping) if "kind" in look else how.kind
    unknown = ("unknown",) if kind is None or "unknown" in look else ()
    return replace(how, mapping=mapping, kind=kind or PLAIN, look=unknown), not unknown


def preview_upload(file: BinaryIO, how: Reading, out: BinaryIO, workers: int = 1) -> None:
    """Write the preview as one line of JSON. how.look: what of "kind" and "map" is to be guessed."""
    head = [row for _, row in islice(_raw(file, how), MAX_ROWS)]
    as_read, known = guessed(file, how)
    with TemporaryFile() as found:
        read_upload(file, as_read, found, workers=workers)
        found.seek(0)
        report = Report.from_json(found.readline())
        good = not report.bad_rows
        total = sum(report.splits.values()) if good else 0
        rows = [_as_read(line) for line in islice(found, min(SHOWN, total))]
        for _ in islice(found, max(0, total - SHOWN)):
            pass
        statistics = json.loads(found.readline()) if good else None
    seen = Preview(
        kind=as_read.kind if known else None,
        mapping=as_read.mapping,
        columns=_columns(head),
        first=list(islice(_given(file, as_read), SHOWN)),
        rows=rows,
        bad=_bad(file, as_read, report),
        bad_rows=report.bad_rows,
        errors=[asdict(error) for error in report.errors],
        splits=report.splits,
        statistics=statistics,
    )
    out.write(json.dumps(asdict(seen)).encode() + b"\n")


def _raw(file: BinaryIO, how: Reading) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows under the names of all their columns; none where the file as a whole cannot be read."""
    file.seek(0)
    try:
        for line, row in rows_of(file, how.format, None, how.max_line_bytes):
            yield line, {} if isinstance(row, BadRows) else row
    except BadRows:  # told with the report
        return


def _columns(rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [
        {
            "name": name,
            "samples": list(islice((_text(row[name]) for row in rows if _filled(row, name)), SAMPLES)),
        }
        for name in names
    ]


def _filled(row: Mapping[str, Any], name: str) -> bool:
    return row.get(name) not in (None, "", [])


def _given(file: BinaryIO, how: Reading) -> Iterator[dict[str, Any]]:
    """Every row under the names of the fields, without a check of any, as corrected."""
    mapping = dict(with_text(how.mapping, how.kind))
    rows = ((line, dict(_fields(row, mapping))) for line, row in _raw(file, how))
    changed = {line for line, fields in how.corrections if fields is not None}
    for line, row in corrected(rows, how.corrections, frozenset()):
        fields = {} if isinstance(row, BadRows) else {name: _shown(value) for name, value in row.items()}
        yield {"line": line, "given": fields, "corrected": line in changed}


def _fields(row: Mapping[str, Any], mapping: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, Any]]:
    answers = {*ANSWERS} & mapping.keys()
    for field in (*FIELDS, TEXT):
        if field in ANSWERS and answers and field not in answers:
            continue  # the mapping says which column is the answer
        columns = mapping.get(field, (field,))
        values = [column_value(row, column) for column in columns]
        there = [value for value in values if value not in (None, "")]
        if there and field != "choices" and len(values) > 1:  # joined, as the reader joins them
            yield field, " ".join(_text(value).strip() for value in there)
        elif there:
            yield field, values[0] if len(values) == 1 else values


def _bad(file: BinaryIO, how: Reading, report: Report) -> list[dict[str, Any]]:
    mistakes: defaultdict[int, list[FieldError]] = defaultdict(list)
    for error in report.errors:
        for line in error.lines or (error.line or 0,):
            mistakes[line].append(error)
    wanted = sorted(mistakes)[:SHOWN_BAD]
    held = {}
    for row in _given(file, how) if wanted else ():
        if row["line"] in mistakes:
            held[row["line"]] = row["given"]
        if row["line"] >= wanted[-1]:
            break
    return [
        {
            "line": line,
            "given": held.get(line, {}),
            "mistakes": [{"field": e.field, "reason": e.reason, "fix": e.fix} for e in mistakes[line]],
            "in_file": line in held,
        }
        for line in wanted
    ]


def _as_read(line: bytes) -> dict[str, Any]:
    split, _, name, question, answer, choices, group, solution, _ = fields_of(line)
    texts = json.loads(choices) if choices else None
    row = {"id": name, "question": question, "answer": answer, "choices": texts, "group": group}
    return {**row, "solution": solution, "split": split}


def _shown(value: Any) -> Any:
    """A text, or for choices a list of texts."""
    return [_text(one) for one in value] if isinstance(value, list | tuple) else _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:LONGEST]
