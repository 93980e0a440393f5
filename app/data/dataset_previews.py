"""A file as an upload would read it, before it is one: columns, kind, first rows, bad rows, splits."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.intake.formats import Format
from app.intake.look.preview import Preview
from app.intake.slots import ProjectSlots
from app.intake.unpack import unpacked
from app.intake.uploaded_file import HowToRead, Received, looks_like, previewed_file
from app.intake.warnings import data_warnings, held_out_warnings
from app.settings import Settings
from star_engine.tasks.kind import Kind

HELD_OUT_SHARE, MAX_HELD_OUT = 5, 200  # one row in so many is proposed as held out, and how many at most

Looked = Literal["kind", "map"]


class ColumnOut(BaseModel):
    name: str
    samples: Annotated[list[str], Field(description="Of its first values, as texts.")]


class GivenRowOut(BaseModel):
    """A row under the names of the fields, before anything is made of it."""

    line: int
    given: dict[str, str | list[str]]
    corrected: bool = False


class MistakeOut(BaseModel):
    field: str
    reason: str
    fix: str


class BadRowOut(BaseModel):
    line: int
    given: dict[str, str | list[str]]
    in_file: Annotated[bool, Field(description="Whether it is a row of its own, which can be corrected.")]
    mistakes: list[MistakeOut]


class ReadRowOut(BaseModel):
    """A row as it would be stored."""

    id: str
    question: str
    answer: str
    choices: list[str] | None
    group: str | None
    solution: str | None
    split: str


class SameMistakeOut(MistakeOut):
    line: int | None
    rows: Annotated[int, Field(description="Rows that have the same mistake.")]
    lines: Annotated[list[int], Field(description="The first of them, where they are several.")]


class DatasetPreviewOut(BaseModel):
    object: Literal["dataset_preview"] = "dataset_preview"
    format: Format
    kind: Annotated[Kind | None, Field(description="As said, or as the rows look; null: they do not tell.")]
    map: Annotated[dict[str, list[str]], Field(description="Field to columns, as said or guessed.")]
    columns: list[ColumnOut]
    first: Annotated[list[GivenRowOut], Field(description="The first rows, good or bad.")]
    rows: Annotated[list[ReadRowOut], Field(description="The first rows as read; none where a row is bad.")]
    bad_rows: int
    bad: Annotated[list[BadRowOut], Field(description="The first bad rows, with what they hold.")]
    errors: Annotated[list[SameMistakeOut], Field(description="Equal mistakes together.")]
    splits: Annotated[dict[str, int], Field(description="Rows by split, of those that are good.")]
    statistics: dict[str, Any] | None
    warnings: list[str]
    source: Annotated[
        str | None, Field(description="What was fetched, of a hub with its commit; null: the file was sent.")
    ] = None


async def receive_preview(
    project_id: str,
    received: Received,
    format_: Format | None,
    how: HowToRead,
    look: tuple[Looked, ...],
    settings: Settings,
    slots: ProjectSlots,
    *,
    propose: bool = False,
) -> tuple[DatasetPreviewOut, int]:
    """Looks at the received file and closes it; also returns how many rows were asked to be held out.

    look: what of kind and map nobody has said. propose: hold out as many as is proposed, in place of
    `how.validation`; none where rows say their split.
    """
    try:
        return await slots.run(project_id, _preview, received, format_, how, look, settings, propose=propose)
    finally:
        received.file.close()


def _preview(
    received: Received,
    format_: Format | None,
    how: HowToRead,
    look: tuple[Looked, ...],
    settings: Settings,
    *,
    propose: bool,
) -> tuple[DatasetPreviewOut, int]:
    if propose:
        how = replace(how, validation=0)
    with unpacked(received.file, received.encoding, settings.max_unpacked_bytes) as plain:
        as_what = looks_like(plain, received, format_, how)
        seen = previewed_file(plain, as_what, how, look, settings)
        share = seen.splits.get("train", 0) // HELD_OUT_SHARE
        if propose and share and "validation" not in seen.splits:
            how = replace(how, validation=min(MAX_HELD_OUT, share))
            seen = previewed_file(plain, as_what, how, look, settings)
    return _out(seen, as_what, how), how.validation


def _out(seen: Preview, format_: Format, how: HowToRead) -> DatasetPreviewOut:
    warnings = data_warnings(seen.statistics, seen.kind) if seen.kind else []
    if not seen.bad_rows:
        warnings = [*warnings, *held_out_warnings(how.validation, seen.splits)]
    return DatasetPreviewOut(
        format=format_,
        kind=seen.kind,
        map={field: list(columns) for field, columns in seen.mapping},
        columns=[ColumnOut(**one) for one in seen.columns],
        first=[GivenRowOut(**one) for one in seen.first],
        rows=[ReadRowOut(**one) for one in seen.rows],
        bad_rows=seen.bad_rows,
        bad=[BadRowOut(**one) for one in seen.bad],
        errors=[SameMistakeOut(**one) for one in seen.errors],
        splits=seen.splits,
        statistics=seen.statistics,
        warnings=warnings,
    )
