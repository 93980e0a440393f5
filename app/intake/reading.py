"""Reads an upload in one pass: every row is verified, every bad one counted, the first of them described."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, BinaryIO

from app.errors import FieldError
from app.intake.batches import MAX_SLOW, Batch, Rules, batches_of
from app.intake.blocks import Blocks, read_in_blocks
from app.intake.formats import Format, rows_of
from app.intake.look.corrections import Corrections, all_there, corrected
from app.intake.mapping import Columns, with_text
from app.intake.overlap import refused_overlap
from app.intake.scratch import Scratch
from app.intake.statistics import statistics
from star_engine.data.columns import ANSWERS
from star_engine.data.readers import answer_field
from star_engine.data.row_errors import SHOWN_LINES, BadRows, Grouped, RowError
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of

LARGE_BYTES = 4 << 20  # 12,000 rows of GSM8K, verified in 0.2 s
PASSES = 4  # of which each leaves out what was bad in those before: rows, repeated ids, questions held out


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
    corrections: Corrections = ()
    skip_bad_rows: bool = False  # they are left out instead of refused
    look: tuple[str, ...] | None = None  # for a preview: what of "kind" and "map" it guesses

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Reading:
        given = json.loads(text)
        mapping = tuple((name, tuple(columns)) for name, columns in given.pop("mapping"))
        corrections = tuple(
            (line, None if fields is None else tuple((name, _frozen(value)) for name, value in fields))
            for line, fields in given.pop("corrections")
        )
        format_, kind, look = Format(given.pop("format")), Kind(given.pop("kind")), given.pop("look")
        look = None if look is None else tuple(look)
        return cls(**given, look=look, mapping=mapping, corrections=corrections, format=format_, kind=kind)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


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
    left_out = _Mistakes(how.max_row_errors, keeps_lines=True)
    for _ in range(PASSES - 1 if how.skip_bad_rows else 0):
        with Scratch() as scratch:
            mistakes = _read(file, how, frozenset(left_out.lines), scratch, workers)
        file.seek(0)
        if not mistakes.lines - left_out.lines:
            break
        left_out.join(mistakes)
    with Scratch() as scratch:
        mistakes = _read(file, how, frozenset(left_out.lines), scratch, workers)
        report = Report(mistakes.bad_rows, mistakes.listed(), scratch.splits())
        out.write(report.as_json().encode() + b"\n")
        if not mistakes.bad_rows:
            out.writelines(scratch.lines())
            out.flush()
            rows_written()
            counted = statistics(scratch.db, scratch.tally)
            counted["overlap"]["allowed"] = how.allow_overlap
            out.write(json.dumps(counted | _changed(how, left_out)).encode() + b"\n")


def _read(
    file: BinaryIO, how: Reading, left_out: frozenset[int], scratch: Scratch, workers: int
) -> _Mistakes:
    """Every row once, the good ones into `scratch`; returns what is wrong with the others."""
    mistakes, slow = _Mistakes(how.max_row_errors, keeps_lines=how.skip_bad_rows), 0
    for batch in _batches(file, how, left_out, workers):
        scratch.add(batch)
        mistakes.add(batch.bad_rows, [RowError(*error) for error in batch.errors], batch.of_file)
        slow += batch.slow
        if slow >= MAX_SLOW:  # blocks that were read side by side may hold more
            break
    scratch.finish()
    most = how.max_rows if how.skip_bad_rows else how.max_row_errors
    mistakes.add(*scratch.repeated_ids(most))
    if not mistakes.bad_rows:
        scratch.carve(how.validation)
        if not how.allow_overlap:
            mistakes.add(*refused_overlap(scratch.db, most))
    return mistakes


def _changed(how: Reading, left_out: _Mistakes) -> dict[str, Any]:
    """What was done to the file's rows, for the statistics; nothing where nothing was."""
    by_hand = sum(fields is None for _, fields in how.corrections)
    changed: dict[str, Any] = {}
    if left_out.lines or by_hand:
        mistakes = [error.as_json() for error in left_out.listed()]
        changed["left_out"] = {
            "rows": len(left_out.lines) + by_hand,
            "by_hand": by_hand,
            "mistakes": mistakes,
        }
    if corrected_rows := len(how.corrections) - by_hand:
        changed["corrected"] = {"rows": corrected_rows}
    return changed


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


def _batches(file: BinaryIO, how: Reading, left_out: frozenset[int], workers: int) -> Iterator[Batch]:
    how = _with_answer_field(file, how)
    how = replace(how, mapping=with_text(how.mapping, how.kind))
    rules = Rules(how.kind, how.seed, how.mapping)
    changed = bool(how.corrections or left_out)
    alike = workers > 1 and how.format is Format.JSONL and not changed
    if alike and os.fstat(file.fileno()).st_size >= LARGE_BYTES:
        return read_in_blocks(file, Blocks(rules, how.mapping, how.max_line_bytes), how.max_rows, workers)
    rows = rows_of(file, how.format, how.mapping, how.max_line_bytes)
    if changed:
        rows = corrected(all_there(rows, how.corrections), how.corrections, left_out)
    return batches_of(rows, rules, how.max_rows)


class _Mistakes:
    """Counts bad rows and groups equal mistakes; memory grows with the number of groups that are reported."""

    def __init__(self, most: int, *, keeps_lines: bool) -> None:
        self.most, self.bad_rows, self.found = most, 0, Grouped(most)
        self.keeps_lines = keeps_lines
        self.lines: set[int] = set()  # of all rows that have one, where they are kept

    def add(self, bad_rows: int, errors: Sequence[RowError], of_file: int = 0) -> None:
        """of_file: how many errors at the end name a line whose row is not at fault, such as the first one
        that was not looked at.
        """
        self.bad_rows += bad_rows
        for error in errors:
            self.found.add(error)
        if self.keeps_lines:
            self.lines |= {error.line for error in errors[: len(errors) - of_file]}

    def join(self, other: _Mistakes) -> None:
        """Take over what another pass over the same file has found wrong with rows."""
        self.bad_rows += other.bad_rows
        self.lines |= other.lines
        for same, (rows, lines) in other.found.found.items():
            if lines[0] not in other.lines:  # of the file as a whole
                continue
            mine, before = self.found.found.get(same, (0, []))
            self.found.found[same] = (mine + rows, [*before, *lines][:SHOWN_LINES])

    def listed(self) -> tuple[FieldError, ...]:
        told = sorted(self.found.found.items(), key=lambda one: one[1][1][0])
        return tuple(
            FieldError(same.field, same.reason, same.fix, lines[0], rows, tuple(lines) if rows > 1 else ())
            for same, (rows, lines) in told
        )
