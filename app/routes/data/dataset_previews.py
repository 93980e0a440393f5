"""A look at a file before it is uploaded as a dataset."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request

from app.data.dataset_previews import DatasetPreviewOut, Looked, receive_preview
from app.http.auth import Submitter
from app.http.dependencies import Config, UploadSlots
from app.http.router import api_router
from app.intake.formats import Format
from app.intake.look.corrections import parse_corrections
from app.intake.mapping import parse_mapping
from app.intake.uploaded_file import HowToRead
from app.routes.data.datasets import UPLOAD, Corrected, Mapped, SkipBadRows, Source, received_or_fetched
from star_engine.tasks.kind import Kind
from star_engine.tasks.starting.likely import PLAIN

router = api_router("datasets", "/v1/dataset-previews")


@router.post("", summary="Look at a file before it is uploaded", openapi_extra=UPLOAD)
async def preview(
    caller: Submitter,
    settings: Config,
    slots: UploadSlots,
    request: Request,
    kind: Annotated[Kind | None, Query(description="Left out, it is guessed by the first rows.")] = None,
    validation: Annotated[int, Query(ge=0, le=10**9, description="As of an upload.")] = 0,
    seed: Annotated[int, Query(ge=0, lt=2**31, description="As of an upload.")] = 0,
    format_: Annotated[Format | None, Query(alias="format", description="As of an upload.")] = None,
    columns: Mapped = None,
    source: Source = None,
    allow_overlap: Annotated[bool, Query(description="As of an upload.")] = False,
    skip_bad_rows: SkipBadRows = False,
    corrections: Corrected = None,
) -> DatasetPreviewOut:
    """The file, or what `source` names, is read and verified as an upload would be, and nothing is stored.
    The kind, and which column is which, are guessed where they are left out. Bad rows come with what they
    hold: `corrections` of the upload replace fields of them, or leave them out. `source` of the answer names
    the commit of a hub that was looked at: an upload of it reads the same rows.
    """
    mapping, by_hand = parse_mapping(columns), parse_corrections(corrections)
    fetched = await received_or_fetched(request, source, caller.project_id, settings, slots)
    guessed: dict[Looked, bool] = {"kind": kind is None, "map": columns is None}
    look = tuple(name for name, missing in guessed.items() if missing)
    how = HowToRead(kind or PLAIN, validation, seed, mapping, allow_overlap, by_hand, skip_bad_rows)
    seen, _ = await receive_preview(caller.project_id, fetched.received, format_, how, look, settings, slots)
    return seen.model_copy(update={"source": fetched.source or None})
