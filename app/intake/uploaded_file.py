"""An uploaded file, checked: in this process where it is small and plain, else in a child with limits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from app.errors import Invalid
from app.intake.blocks import reopened
from app.intake.child import Limits, reader
from app.intake.formats import PACKED, Format, format_of
from app.intake.look.corrections import Corrections
from app.intake.look.preview import Preview, guessed, preview_upload
from app.intake.mapping import Columns, with_text
from app.intake.reading import Reading, Report, read_upload
from app.intake.unpack import Unpacked, unreadable
from app.settings import Settings
from star_engine.data.row_errors import BadRows
from star_engine.tasks.kind import Kind, reads_documents
from star_engine.tasks.registry import task_of

READER = 3  # raised where the same bytes give other rows: since 3, empty options keep their places
APART_BYTES = 64 << 10  # a child takes 0.5 s to start; so much is read in less, and cannot hurt


@dataclass(frozen=True, slots=True)
class Received:
    """A file as it was sent."""

    file: BinaryIO
    name: str
    content_type: str
    encoding: str  # gzip, zstd, or empty: as the file's first bytes say


@dataclass(frozen=True, slots=True)
class HowToRead:
    """What, besides the bytes, decides which examples a file holds."""

    kind: Kind
    validation: int  # rows to carve as held-out split where no row says that it is one
    seed: int
    mapping: Columns = ()
    allow_overlap: bool = False  # held-out rows may ask what others train on
    corrections: Corrections = ()
    skip_bad_rows: bool = False  # they are left out instead of refused


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file without a bad row in it."""

    how: HowToRead
    sha256: str  # of the bytes and of how they are read
    size_bytes: int
    splits: dict[str, int]
    statistics: Callable[[], dict[str, Any]] | None  # waits for them; None: nobody counts
    accepted: Iterable[bytes]  # its rows in file order, as app.intake.lines writes them


def content_sha256(content: str, how: HowToRead) -> str:
    """What makes two uploads one dataset: the bytes (`content` is their sha256), and how they are read."""
    read_as: list[Any] = [content, how.kind, how.validation, how.seed, READER]
    if how.mapping:
        read_as.append(how.mapping)
    if how.allow_overlap:
        read_as.append("allow_overlap")
    if how.corrections:
        read_as.append(["corrections", how.corrections])
    if how.skip_bad_rows:
        read_as.append("skip_bad_rows")
    return hashlib.sha256(json.dumps(read_as).encode()).hexdigest()


@contextmanager
def checked_file(
    plain: Unpacked, format_: Format, how: HowToRead, settings: Settings
) -> Iterator[CheckedFile]:
    """Every row read once. Raises Invalid naming the mistakes."""
    reading = reading_of(format_, how, settings)
    with TemporaryFile() as accepted:
        if _reads_at_once(plain, format_, how.kind):
            read_upload(plain.file, reading, accepted)
            yield _checked(plain, how, accepted, settings, lambda: None)
            return
        # On disk are its rows, their index and what sorting takes: the limit is for each of these files.
        disk = 4 * settings.max_unpacked_bytes
        limits = Limits(settings.upload_memory_bytes, disk, settings.upload_seconds)
        # Reopened: the child goes on writing at the offset that this file has.
        with reader(plain.file, reading, accepted, limits) as child, reopened(accepted) as read:
            child.wait_for_rows()
            yield _checked(plain, how, read, settings, child.wait)


def looks_like(plain: Unpacked, received: Received, said: Format | None, how: HowToRead) -> Format:
    """The format to read the file in: as it was said, unless it certainly is another. Raises Invalid."""
    documents, columns = reads_documents(how.kind), with_text(how.mapping, how.kind)
    try:
        looks = format_of(plain.file, received.name, received.content_type, columns, documents=documents)
    except BadRows as bad:
        raise unreadable(bad) from bad
    certain = looks is Format.XLSX or (looks is Format.JSON and said is Format.JSONL)
    return looks if certain else said or looks


def reading_of(format_: Format, how: HowToRead, settings: Settings) -> Reading:
    return Reading(
        format=format_,
        kind=how.kind,
        validation=how.validation,
        seed=how.seed,
        mapping=how.mapping,
        max_line_bytes=settings.max_line_bytes,
        max_rows=settings.max_rows,
        max_row_errors=settings.max_row_errors,
        allow_overlap=how.allow_overlap,
        corrections=how.corrections,
        skip_bad_rows=how.skip_bad_rows,
    )


def previewed_file(
    plain: Unpacked, format_: Format, how: HowToRead, look: tuple[str, ...], settings: Settings
) -> Preview:
    """The file as an upload would read it. look: what of "kind" and "map" is guessed. Raises Invalid."""
    reading = replace(reading_of(format_, how, settings), look=look)
    if _is_small(plain, format_):  # then so is the guess, and few kinds are slow to check
        reading, _ = guessed(plain.file, reading)
    with TemporaryFile() as found:
        if _reads_at_once(plain, format_, reading.kind):
            preview_upload(plain.file, reading, found)
        else:
            disk = 4 * settings.max_unpacked_bytes
            limits = Limits(settings.upload_memory_bytes, disk, settings.upload_seconds)
            with reader(plain.file, reading, found, limits) as child:
                child.wait()
        found.seek(0)
        return Preview.from_json(found.readline())


def _reads_at_once(plain: Unpacked, format_: Format, kind: Kind) -> bool:
    """Whether this process may read it: what an answer's check costs must follow from its length."""
    return _is_small(plain, format_) and not task_of(kind).slow_gold


def _is_small(plain: Unpacked, format_: Format) -> bool:
    return format_ not in PACKED and plain.size_bytes <= APART_BYTES


def _checked(
    plain: Unpacked, how: HowToRead, read: BinaryIO, settings: Settings, wait: Callable[[], None]
) -> CheckedFile:
    """What read_upload() has written. `wait`: for the last of it, the statistics."""
    read.seek(0)
    report = Report.from_json(read.readline())
    if report.bad_rows:
        detail = _counted(report, settings.max_row_errors)
        raise Invalid(detail, code="invalid_rows", errors=report.errors, bad_rows=report.bad_rows)
    rows = sum(report.splits.values())
    if "train" not in report.splits:
        raise _nothing_to_train_on(rows)

    def statistics() -> dict[str, Any]:
        wait()
        counted: dict[str, Any] = json.loads(read.readline())
        return counted

    sha256 = content_sha256(plain.sha256, how)
    return CheckedFile(how, sha256, plain.size_bytes, report.splits, statistics, islice(read, rows))


def _counted(report: Report, limit: int) -> str:
    rows = report.bad_rows
    more = f" Only the first {limit} mistakes are listed." if len(report.errors) == limit else ""
    return f"{rows} row{'s' if rows > 1 else ''} cannot be used; nothing was stored.{more}"


def _nothing_to_train_on(rows: int) -> Invalid:
    if rows == 0:
        fix = 'Write one {"question": ..., "answer": ...} per line.'
        detail = "The dataset is empty."
        return Invalid.for_field("row", "The file holds no rows.", fix, code="empty_dataset", detail=detail)
    fix = 'Leave "split" out of the rows to train on.'
    detail = "The dataset has nothing to train on."
    reason = "No row is in the split train."
    return Invalid.for_field("split", reason, fix, code="no_train_split", detail=detail)
