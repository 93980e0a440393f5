"""An uploaded file, checked: in this process where it is small and plain, else in a child with limits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from app.errors import FieldError, Invalid
from app.intake.child import Limits, read_apart
from app.intake.formats import Format
from app.intake.mapping import Columns
from app.intake.reading import Reading, Report, read_upload
from app.intake.unpack import Unpacked
from app.settings import Settings
from star_engine.config import Kind

READER = 2  # raised where the same bytes give other rows: since 2, worked solutions are kept
APART_BYTES = 64 << 10  # a child takes 0.5 s to start; so much is read in less, and cannot hurt


@dataclass(frozen=True, slots=True)
class HowToRead:
    """What, besides the bytes, decides which examples a file holds."""

    kind: Kind
    validation: int  # rows to carve as held-out split where no row says that it is one
    seed: int
    mapping: Columns = ()


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file without a bad row in it."""

    how: HowToRead
    sha256: str  # of the bytes and of how they are read
    size_bytes: int
    splits: dict[str, int]
    statistics: dict[str, Any] | None
    accepted: BinaryIO  # its rows as they are stored, as JSONL, from where it stands

    def rows(self) -> Iterator[dict[str, Any]]:
        """Columns of the examples table, in file order. Positions count from 0 within each split."""
        return (json.loads(line) for line in self.accepted)


def content_sha256(content: str, how: HowToRead) -> str:
    """What makes two uploads one dataset: the bytes (`content` is their sha256), and how they are read."""
    read_as: list[Any] = [content, how.kind, how.validation, how.seed, READER]
    if how.mapping:
        read_as.append(how.mapping)
    return hashlib.sha256(json.dumps(read_as).encode()).hexdigest()


def check_file(
    plain: Unpacked, format_: Format, how: HowToRead, accepted: BinaryIO, settings: Settings
) -> CheckedFile:
    """Read every row once; write the good ones to `accepted`. Raises Invalid naming the mistakes."""
    reading = Reading(
        format=format_,
        kind=how.kind,
        validation=how.validation,
        seed=how.seed,
        mapping=how.mapping,
        max_line_bytes=settings.max_line_bytes,
        max_rows=settings.max_rows,
        max_row_errors=settings.max_row_errors,
    )
    if format_ is not Format.PARQUET and plain.size_bytes <= APART_BYTES:
        read_upload(plain.file, reading, accepted)
    else:
        # On disk are its rows, their index and what sorting takes: the limit is for each of these files.
        disk = 4 * settings.max_unpacked_bytes
        limits = Limits(settings.upload_memory_bytes, disk, settings.upload_seconds)
        read_apart(plain.file, reading, accepted, limits)
    accepted.seek(0)
    report = Report.from_json(accepted.readline())
    if report.bad_rows:
        detail = _counted(report, settings.max_row_errors)
        raise Invalid(detail, code="invalid_rows", errors=report.errors, bad_rows=report.bad_rows)
    if "train" not in report.splits:
        raise _nothing_to_train_on(sum(report.splits.values()))
    sha256 = content_sha256(plain.sha256, how)
    return CheckedFile(how, sha256, plain.size_bytes, report.splits, report.statistics, accepted)


def _counted(report: Report, limit: int) -> str:
    rows = report.bad_rows
    more = f" Only the first {limit} mistakes are listed." if len(report.errors) == limit else ""
    return f"{rows} row{'s' if rows > 1 else ''} cannot be used; nothing was stored.{more}"


def _nothing_to_train_on(rows: int) -> Invalid:
    if rows == 0:
        error = FieldError(
            "row", "The file holds no rows.", 'Write one {"question": ..., "answer": ...} per line.'
        )
        return Invalid("The dataset is empty.", code="empty_dataset", errors=(error,))
    error = FieldError("split", "No row is in the split train.", 'Leave "split" out of the rows to train on.')
    return Invalid("The dataset has nothing to train on.", code="no_train_split", errors=(error,))
