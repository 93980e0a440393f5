"""Reading an uploaded JSONL file: every bad row named, memory bounded whatever the file holds."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import SEEK_END
from typing import Any, BinaryIO

from app.errors import FieldError, Invalid
from app.settings import Settings
from star_engine.config import Kind
from star_engine.examples import Example, Split, assign_splits
from star_engine.readers import RowError, read_examples

READER = 2  # raised where the same bytes give other rows: since 2, worked solutions are kept


@dataclass(frozen=True, slots=True)
class HowToRead:
    """What, besides the bytes, decides which examples a file holds."""

    kind: Kind
    validation: int  # rows to carve as held-out split where no row says that it is one
    seed: int


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file without a bad row in it."""

    how: HowToRead
    sha256: str  # of the bytes and of how they are read
    size_bytes: int
    accepted: BinaryIO  # its rows as they are stored, as JSONL: to verify each a second time takes 0.2 ms
    row_splits: list[Split]  # per row

    @property
    def split_sizes(self) -> dict[str, int]:
        return dict(Counter[str](self.row_splits))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Columns of the examples table, in file order. Positions count from 0 within each split."""
        positions: Counter[str] = Counter()
        self.accepted.seek(0)
        for line, split in zip(self.accepted, self.row_splits, strict=True):
            yield {**json.loads(line), "split": split, "position": positions[split]}
            positions[split] += 1


def content_sha256(file: BinaryIO, how: HowToRead) -> str:
    """What makes two uploads one dataset: the bytes, and how they are read."""
    file.seek(0)
    content = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # a BinaryIO that has readinto
    read_as = [content, how.kind, how.validation, how.seed, READER]
    return hashlib.sha256(json.dumps(read_as).encode()).hexdigest()


def check_file(
    file: BinaryIO, accepted: BinaryIO, how: HowToRead, sha256: str, settings: Settings
) -> CheckedFile:
    """Read every row once and write it to `accepted`. Raises Invalid naming the mistakes in the file."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    examples, errors = _read(file, accepted, how, settings)
    if errors:
        raise Invalid(_counted(errors, settings.max_row_errors), code="invalid_rows", errors=tuple(errors))
    splits = [example.split or "train" for example in assign_splits(examples, how.validation, how.seed)]
    if "train" not in splits:
        raise _nothing_to_train_on(len(splits))
    return CheckedFile(how, sha256, size, accepted, splits)


def _read(
    file: BinaryIO, accepted: BinaryIO, how: HowToRead, settings: Settings
) -> tuple[list[Example], list[FieldError]]:
    """Of good rows what the splits depend on, so that a million fit in memory; of bad ones all mistakes."""
    lines = _Lines(file, settings.max_line_bytes)
    examples: list[Example] = []
    errors: list[FieldError] = []
    for item in read_examples(lines, how.kind):
        if isinstance(item, RowError):
            errors.append(FieldError(item.field, item.reason, item.mend, item.line))
        else:
            accepted.write(_stored(item))
            examples.append(Example("", item.question if how.validation else "", "", split=item.split))
        if len(errors) + len(lines.too_long) >= settings.max_row_errors:
            break
    errors += [_too_long(line, settings.max_line_bytes) for line in lines.too_long]
    errors.sort(key=lambda error: error.line or 0)
    return examples, errors[: settings.max_row_errors]


def _stored(example: Example) -> bytes:
    columns = {
        "external_id": example.id,
        "question": example.question,
        "answer": example.answer,
        "choices": example.choices,
        "group": example.group,
        "solution": example.solution,
    }
    return json.dumps(columns).encode() + b"\n"


@dataclass(slots=True)
class _Lines:
    """A file's lines. One that is longer than the limit comes as an empty line, and its number is noted."""

    file: BinaryIO
    limit: int
    too_long: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[bytes]:
        number = 0
        while line := self.file.readline(self.limit + 1):
            number += 1
            if len(line) <= self.limit:
                yield line
                continue
            while line and not line.endswith(b"\n"):
                line = self.file.readline(self.limit)
            self.too_long.append(number)
            yield b"\n"


def _too_long(line: int, limit: int) -> FieldError:
    return FieldError("row", f"Longer than {limit} bytes.", "Shorten it; a row holds one question.", line)


def _counted(errors: list[FieldError], limit: int) -> str:
    rows = len({error.line for error in errors})
    more = f" Only the first {limit} mistakes are listed." if len(errors) == limit else ""
    return f"{rows} row{'s' if rows > 1 else ''} cannot be used; nothing was stored.{more}"


def _nothing_to_train_on(rows: int) -> Invalid:
    if rows == 0:
        error = FieldError(
            "row", "The file holds no rows.", 'Write one {"question": ..., "answer": ...} per line.'
        )
        return Invalid("The dataset is empty.", code="empty_dataset", errors=(error,))
    error = FieldError("split", "No row is in the split train.", 'Leave "split" out of the rows to train on.')
    return Invalid("The dataset has nothing to train on.", code="no_train_split", errors=(error,))
