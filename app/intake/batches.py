"""Verifies rows in batches: keeps the good ones and reports what is wrong with the bad ones."""

from __future__ import annotations

import marshal
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from app.intake.lines import as_json, joined
from app.intake.mapping import Columns, Row, fixes_in_http
from app.intake.tally import Tally
from star_engine.data.readers import read_example
from star_engine.data.row_errors import BadRows, RowError
from star_engine.tasks.examples import Example, folded
from star_engine.tasks.kind import Kind

Mistake = tuple[int, str, str, str]  # line, field, reason, fix
BATCH = 1000  # rows of a file that one process reads
MAX_SLOW = 4  # answers of a file that may be given up at their time limit, of seconds each
MAX_TEXT = 500  # characters of a reason: it may quote what the row holds


@dataclass(frozen=True, slots=True)
class Rules:
    """What makes a row good, and its key."""

    kind: Kind
    seed: int
    mapping: Columns = ()  # for the words of a fix


@dataclass(slots=True)
class Batch:
    """Rows that follow one another in a file. Plain values only: it crosses processes as bytes."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)  # see COLUMNS of scratch.py
    named: bool = False  # some row has an id of its own
    tally: Tally = field(default_factory=Tally)
    count: int = 0  # good and bad
    bad_rows: int = 0
    errors: list[Mistake] = field(default_factory=list)
    slow: int = 0  # rows whose answers took too long to check
    of_file: int = 0  # of the errors, how many at their end are of the file as a whole, and of no row

    def add(self, line: int, example: Example, rules: Rules) -> None:
        choices = as_json(example.choices)
        self.named = self.named or example.id != f"row-{line}"
        same = (example.answer, choices, example.group)
        tail = joined(
            (example.id, example.question, *same, example.solution, as_json(example.context or None))
        )
        key = question_key(rules.seed, example.whole_question)
        self.rows.append((line, example.id, *same, example.split or "train", key, tail))
        self.tally.add(example, rules.kind)

    def as_bytes(self) -> bytes:
        counts = [dict(counter) for counter in self.tally.counters()]
        rest = (self.count, self.bad_rows, self.errors, self.slow, self.of_file)
        plain = (self.rows, self.named, counts, *rest)
        return marshal.dumps(plain, 2)  # version 2 does not look for equal objects, which takes as long again

    @classmethod
    def from_bytes(cls, data: bytes) -> Batch:
        """What as_bytes() gave, in another process of the same Python."""
        rows, named, counts, *rest = marshal.loads(data)  # noqa: S302 - from our own fork, not from a person
        return cls(rows, named, Tally(*map(Counter, counts)), *rest)

    def refuse(self, errors: Sequence[RowError], mapping: Columns) -> None:
        self.bad_rows += 1
        said = fixes_in_http(errors, mapping)
        self.errors += [(e.line, _cut(e.field), _cut(e.reason), _cut(e.fix)) for e in said]


def batches_of(
    rows: Iterable[Row], rules: Rules, room: int, size: int = BATCH, most: int | None = None
) -> Iterator[Batch]:
    """Every row, `size` to a batch.

    room: rows that there may be; one more is a mistake and the end. most: what to call that number.
    """
    batch, left, slow = Batch(), room, 0
    try:
        for line, row in rows:
            if left == 0:
                raise _too_many(line, room if most is None else most)
            left -= 1
            slow += _take(batch, line, row, rules)
            if slow == MAX_SLOW:
                raise too_slow(line)
            if batch.count == size:
                yield batch
                batch = Batch()
    except BadRows as bad:  # of the file as a whole
        of_rows = len(batch.errors)
        batch.refuse(bad.errors, rules.mapping)
        batch.of_file = len(batch.errors) - of_rows
    yield batch


def _take(batch: Batch, line: int, row: Any, rules: Rules) -> bool:
    """Whether its answer took too long to check."""
    batch.count += 1
    slow = False
    try:
        if isinstance(row, BadRows):
            raise row
        batch.add(line, read_example(row, rules.kind, line=line), rules)
    except BadRows as bad:
        slow = any(error.slow for error in bad.errors)
        batch.slow += slow
        batch.refuse(bad.errors, rules.mapping)
    return slow


def too_slow(line: int) -> BadRows:
    """What ends the reading of a file that holds MAX_SLOW slow answers."""
    reason = f"Not looked at: {MAX_SLOW} answers above it took too long to check."
    return BadRows([RowError(line + 1, "row", reason, "Simplify those first.")])


def _too_many(line: int, most: int) -> BadRows:
    fix = "Split the file into several datasets."
    return BadRows([RowError(line, "row", f"The file holds more than {most} rows.", fix)])


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."


def question_key(seed: int, question: str) -> bytes:
    """Return the key of a question, ignoring case and white space; held-out rows are chosen in the order of
    keys.
    """
    return blake2b(f"{seed}\x1f{folded(question)}".encode(), digest_size=16).digest()
