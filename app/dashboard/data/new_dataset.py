"""From rows to a dataset, step by step: pasted or from a file, looked at, corrected, stored.

The rows stay in the form until they are stored: each look sends them again, and the server keeps nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from io import SEEK_END, BytesIO
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.datastructures import FormData

from app.dashboard.jobs.form import checked
from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter
from app.data.dataset_previews import DatasetPreviewOut, Looked, receive_preview
from app.data.datasets import receive_dataset
from app.errors import Invalid, Problem
from app.http.dependencies import Config, Db, UploadSlots
from app.http.router import page_router
from app.http.schemas import In, Name
from app.http.uploads import receive_fields
from app.intake.formats import Format
from app.intake.hub.fetch import PREFIX, fetch_split
from app.intake.look.corrections import parse_corrections
from app.intake.mapping import parse_mapping
from app.intake.slots import ProjectSlots
from app.intake.uploaded_file import HowToRead, Received
from app.ledger.platform.keys import Caller
from app.settings import Settings
from star_engine.data.columns import FIELDS
from star_engine.tasks.kind import Kind, reads_documents
from star_engine.tasks.registry import TASKS
from star_engine.tasks.starting.likely import PLAIN

router = page_router("/datasets/new")
MAX_FIELDS = 1000  # of the form: a role per column, three fields per bad row
MARKED_BYTES = 1 << 20  # of the rows: pasted ones are no more; longer files are told apart by their size
OF_ANY_ROWS = ("text", "name", "hub", "hub_config", "hub_train", "hub_held_out")
OF_ONE_ROW = ("row", "was", "now", "drop")
ROLES: Mapping[str, str] = {
    "": "by its own name, if it has one",
    "question": "question",
    "answer": "answer",
    "choices": "choice, or list of choices",
    "answer_index": "answer: number of a choice, from 0",
    "answer_number": "answer: number of a choice, from 1",
    "solution": "solution (never shown to the model)",
    "group": "group",
    "id": "id",
    "split": "split (train, validation, test)",
    "text": "text of a document",
}


class _Named(In):
    name: Name


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a form and its other fields. `source`: of a hub's dataset, with its commit."""

    received: Received
    sent: FormData
    source: str = ""


@router.get("")
def form(request: Request, caller: Submitter, settings: Config) -> Response:
    return page(request, "dataset_new.html", caller, hub=urlsplit(settings.hub_url).hostname)


@router.post("/look")
async def look(request: Request, caller: Submitter, settings: Config, slots: UploadSlots) -> Response:
    """A fragment: what was found, with what can be changed about it. What is wrong is an answer too."""
    try:
        rows = await _sent(request, caller, settings, slots)
        received, marks = rows.received, _marks(rows.received.file)
        if rows.source:
            marks["hub_source"] = rows.source
        sent = _of_these(rows.sent, marks)
        how, format_, looked = _how(sent)
        propose = sent.get("validation") == sent.get("proposed")  # no other number was typed
        seen, held_out = await receive_preview(
            caller.project_id, received, format_, how, looked, settings, slots, propose=propose
        )
        proposed = str(held_out) if propose else str(sent.get("proposed", ""))
        return _looked(request, caller, sent, seen, held_out, proposed, marks)
    except Problem as refused:
        return page(request, "_problem.html", caller, problem=refused)


@router.post("")
async def create(
    request: Request, caller: Submitter, db: Db, settings: Config, slots: UploadSlots
) -> Response:
    """Stores it, and shows its page; what is refused is shown in place of what was found."""
    try:
        rows = await _sent(request, caller, settings, slots)
        received, sent = rows.received, rows.sent
        how, format_, looked = _how(sent)
        if looked or sent.get("rows_mark") != _marks(received.file)["rows_mark"]:
            reason = "These rows have not been looked at yet, or were changed since."
            raise Invalid.for_field("text", reason, "Press Look at it first.")
        name = str(sent.get("name", "")).strip() or _plain(received.name)[:200] or "dataset"
        name = checked(_Named, {"name": name}).name
        made, _ = await receive_dataset(db, caller.project_id, name, received, format_, how, settings, slots)
    except Problem as refused:
        return page(request, "_problem.html", caller, problem=refused)
    return Response(status_code=204, headers={"HX-Redirect": url("datasets", made.id)})


async def _sent(request: Request, caller: Caller, settings: Settings, slots: ProjectSlots) -> _Rows:
    """The file, or the pasted text or a hub's dataset as one, and the form's other fields."""
    received, sent = await receive_fields(request, MAX_FIELDS)
    pasted = str(sent.get("text", ""))
    if received is not None and received.name:
        return _Rows(received, sent)
    if pasted.strip():
        return _Rows(Received(BytesIO(pasted.replace("\r\n", "\n").encode()), "", "", ""), sent)
    source = _source(sent)
    if not source:
        fix = "Paste some rows, choose a file, or name a dataset of the hub."
        raise Invalid.for_field("text", "There is nothing yet.", fix)
    fetched = await slots.run(caller.project_id, fetch_split, source, settings)
    return _Rows(fetched.received, sent, fetched.source)


def _source(sent: FormData) -> str:
    """What the fields on the hub name: at the commit that was looked at, where they are the same as then."""
    name, config, train, held_out = (
        str(sent.get(field, "")).strip() for field in ("hub", "hub_config", "hub_train", "hub_held_out")
    )
    if not name:
        return ""
    splits = f"{train or 'train'}=train+{held_out}=validation" if held_out else train or "train"
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    below = f"{f'/{config}' if config else ''}/{splits}"
    looked_at = str(sent.get("hub_source", ""))
    if not revision and looked_at.startswith(f"{PREFIX}{repository}@") and looked_at.endswith(below):
        return looked_at
    return f"{PREFIX}{repository}{f'@{revision}' if revision else ''}{below}"


def _marks(file: BinaryIO) -> dict[str, str]:
    """What tells these rows from others, and their first line, which names the columns, from other ones."""
    head = file.read(MARKED_BYTES)
    file.seek(0, SEEK_END)
    size = file.tell()
    file.seek(0)
    marked = {"rows_mark": head + str(size).encode(), "first_mark": head.partition(b"\n")[0]}
    return {name: blake2b(what, digest_size=16).hexdigest() for name, what in marked.items()}


def _of_these(sent: FormData, marks: Mapping[str, str]) -> FormData:
    """The form without what was said of other rows: of single ones where any has changed, and of columns,
    kind and splits where the first line has.
    """
    if sent.get("rows_mark") in (None, marks["rows_mark"]):
        return sent
    fields = sent.multi_items()
    if sent.get("first_mark") != marks["first_mark"]:
        return FormData([(name, value) for name, value in fields if name in OF_ANY_ROWS])
    return FormData([(name, value) for name, value in fields if name.partition(".")[0] not in OF_ONE_ROW])


def _how(sent: FormData) -> tuple[HowToRead, Format | None, tuple[Looked, ...]]:
    """How the form says that the rows are read, and what nobody has said yet. Raises Invalid."""
    kind, roles = str(sent.get("kind", "")), _roles(sent)
    if kind and kind not in list(Kind):
        raise Invalid.for_field("kind", f"There is no kind {kind!r}.", f"One of {', '.join(Kind)}.")
    missing: dict[Looked, bool] = {"kind": not kind, "map": roles is None}
    validation, form = str(sent.get("validation", "")) or "0", str(sent.get("format", ""))
    if not (validation.isascii() and validation.isdecimal() and len(validation) < 10):
        raise Invalid.for_field("validation", f"{validation[:40]!r} is no number.", "Write how many rows.")
    how = HowToRead(
        kind=Kind(kind) if kind else PLAIN,
        validation=int(validation),
        seed=0,
        mapping=parse_mapping(json.dumps(roles)) if roles else (),
        allow_overlap="allow_overlap" in sent,
        corrections=parse_corrections(json.dumps(_corrections(sent))),
        skip_bad_rows="skip_bad_rows" in sent,
    )
    return how, Format(form) if form in list(Format) else None, tuple(one for one in missing if missing[one])


def _roles(sent: FormData) -> dict[str, list[str]] | None:
    """Field to columns; None where no column has been shown yet. A column under its own name needs none."""
    columns = [str(one) for one in sent.getlist("column")]
    if not columns:
        return None
    found: dict[str, list[str]] = {}
    for column, role in zip(columns, map(str, sent.getlist("role")), strict=False):
        if role in ROLES and role:
            found.setdefault(role, []).append(column)
    return {role: names for role, names in found.items() if names != [role]}


def _corrections(sent: FormData) -> dict[str, dict[str, Any] | None]:
    """What the form says of single rows: left out, or fields that were typed over."""
    found: dict[str, dict[str, Any] | None] = {}
    for line in map(str, sent.getlist("row")):
        fields: dict[str, Any] = {}
        for field in (*FIELDS, "text"):
            was, now = sent.get(f"was.{line}.{field}"), sent.get(f"now.{line}.{field}")
            if now is None or _lines(str(now)) == _lines(str(was or "")):
                continue
            text = _lines(str(now))
            several = field == "choices"
            fields[field] = [one for one in text.split("\n") if one.strip()] if several else text
        if f"drop.{line}" in sent:
            found[line] = None
        elif fields:
            found[line] = fields
    return found


def _looked(
    request: Request,
    caller: Caller,
    sent: FormData,
    seen: DatasetPreviewOut,
    held_out: int,
    proposed: str,
    marks: Mapping[str, str],
) -> Response:
    roles = {column: field for field, columns in seen.map.items() for column in columns}
    named = {one.name for one in seen.columns}
    kept = {line: fields for line, fields in _corrections(sent).items() if int(line) not in _lines_of(seen)}
    return page(
        request,
        "_dataset_look.html",
        caller,
        seen=seen,
        roles={name: roles.get(name, name if name in ROLES else "") for name in named},
        offered=ROLES,
        kinds=list(TASKS),
        documents=seen.kind is not None and reads_documents(seen.kind),
        held_out=held_out,
        proposed=proposed,
        sent=sent,
        kept=kept,
        marks=marks,
    )


def _lines_of(seen: DatasetPreviewOut) -> set[int]:
    return {row.line for row in seen.bad if row.in_file}


def _plain(name: str) -> str:
    """sums.csv.gz is "sums"."""
    return name.rpartition("/")[2].split(".", 1)[0]


def _lines(text: str) -> str:
    """Browsers send a line break as two characters."""
    return text.replace("\r\n", "\n")
