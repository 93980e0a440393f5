"""Reads an upload in one pass: every row is verified, every bad one counted, the first of them described."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, BinaryIO

from app.errors import FieldError
from app.intake.batches import MAX_SLOW, Batch, Rules, batches_of
from app.intake.blocks import Blocks, read_in_blocks
from app.intake.formats import Format, rows_of
from app.intake.mapping import Columns, with_text
from app.intake.overlap import refused_overlap
from app.intake.scratch import Scratch
from app.intake.statistics import statistics
from star_engine.data.columns import ANSWERS
from star_engine.data.readers import answer_field
from star_engine.data.row_errors import BadRows, Grouped, RowError
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of

LARGE_BYTES = 4 << 20  # 12,000 rows of GSM8K, verified in 0.2 s


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
    allow_overlap: bool = False  # held-out rows may ask what others train on

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
    """What was found. The rows follow it and what is counted of them, and only where none is bad."""

    bad_rows: int
    errors: tuple[FieldError, ...]  # of the first bad rows
    splits: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Report:
        given: dict[str, Any] = json.loads(text)
        errors = tuple(
            FieldError(**{**error, "lines": tuple(error["lines"])}) for error in given.pop("errors")
        )
        return cls(**given, errors=errors)


def read_upload(
    file: BinaryIO,
    how: Reading,
    out: BinaryIO,
    rows_written: Callable[[], None] = lambda: None,
    workers: int = 1,
) -> None:
    """Write the report as one line of JSON, every example as a line (see lines.py), the statistics as JSON.

    rows_written: called where the rows are in `out` and may be stored, while the statistics are counted.
    workers: processes that may verify rows.
    """
    mistakes, slow = _Mistakes(how.max_row_errors), 0
    with Scratch() as scratch:
        for batch in _batches(file, how, workers):
            scratch.add(batch)
            mistakes.add(batch.bad_rows, (RowError(*error) for error in batch.errors))
            slow += batch.slow
            if slow >= MAX_SLOW:  # blocks that were read side by side may hold more
                break
        scratch.finish()
        mistakes.add(*scratch.repeated_ids(how.max_row_errors))
        if not mistakes.bad_rows:
            scratch.carve(how.validation)
            if not how.allow_overlap:
                mistakes.add(*refused_overlap(scratch.db, how.max_row_errors))
        report = Report(mistakes.bad_rows, mistakes.listed(), scratch.splits())
        out.write(report.as_json().encode() + b"\n")
        if not mistakes.bad_rows:
            out.writelines(scratch.lines())
            out.flush()
            rows_written()
            counted = statistics(scratch.db, scratch.tally)
            counted["overlap"]["allowed"] = how.allow_overlap
            out.write(json.dumps(counted).encode() + b"\n")


def _with_answer_field(file: BinaryIO, how: Reading) -> Reading:
    """Map `answer` to answer_index or answer_number if the first rows show that it is one."""
    if not task_of(how.kind).takes_choices or {field for field, _ in how.mapping} & {*ANSWERS[1:]}:
        return how
    try:
        rows = rows_of(file, how.format, how.mapping, how.max_line_bytes)
        field = answer_field((row for _, row in rows if not isinstance(row, BadRows)), how.kind)
    except BadRows:  # of the file as a whole: told when it is read
        field = None
    file.seek(0)
    if field is None:
        return how
    columns = dict(how.mapping).get("answer", ("answer",))
    kept = tuple(pair for pair in how.mapping if pair[0] != "answer")
    return replace(how, mapping=(*kept, (field, columns)))


def _batches(file: BinaryIO, how: Reading, workers: int) -> Iterator[Batch]:
    how = _with_answer_field(file, how)
    how = replace(how, mapping=with_text(how.mapping, how.kind))
    rules = Rules(how.kind, how.seed, how.mapping)
    if workers > 1 and how.format is Format.JSONL and os.fstat(file.fileno()).st_size >= LARGE_BYTES:
        return read_in_blocks(file, Blocks(rules, how.mapping, how.max_line_bytes), how.max_rows, workers)
    return batches_of(rows_of(file, how.format, how.mapping, how.max_line_bytes), rules, how.max_rows)


class _Mistakes:
    """Counts bad rows and groups equal mistakes; memory grows with the number of groups that are reported."""

    def __init__(self, most: int) -> None:
        self.most, self.bad_rows, self.found = most, 0, Grouped(most)

    def add(self, bad_rows: int, errors: Iterable[RowError]) -> None:
        self.bad_rows += bad_rows
        for error in errors:
            self.found.add(error)

    def listed(self) -> tuple[FieldError, ...]:
        told = sorted(self.found.found.items(), key=lambda one: one[1][1][0])
        return tuple(
            FieldError(same.field, same.reason, same.fix, lines[0], rows, tuple(lines) if rows > 1 else ())
            for same, (rows, lines) in told
        )
