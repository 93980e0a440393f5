"""Writing a prompt set in the browser: each example is judged while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.jobs.form import checked
from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter
from app.data.prompt_sets import PromptSetIn, check_prompt_set, create_prompt_set
from app.errors import FieldError, Invalid
from app.http.dependencies import Db
from app.http.router import page_router
from app.ledger.platform.keys import Caller
from star_engine.tasks.kind import Kind

router = page_router("/prompt-sets/new")
FEWEST, MOST = 3, 30  # examples that the form has room for
LONGEST = 20_000  # characters of a field
FIELDS = ("question", "choices", "rationale", "answer", "group")

Example = Mapping[str, str]


async def _sent(request: Request) -> Mapping[str, Any]:
    """The form: name, kind, and each example's fields, which are repeated in their order."""
    sent = await request.form(max_fields=(len(FIELDS) + 1) * MOST + 10)
    columns = {field: [_lines(str(one))[:LONGEST] for one in sent.getlist(field)] for field in FIELDS}
    columns["group"] = columns["group"] or [""] * len(columns["question"])
    if len({len(column) for column in columns.values()}) > 1:
        raise Invalid.for_field("examples", "Fields of an example are missing.", "Reload the page.")
    rows = [dict(zip(FIELDS, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    drafted = "drafted" in sent  # by a model: then only what a person has accepted is taken
    if drafted:
        accepted = {str(one) for one in sent.getlist("accepted")}
        rows = [{**row, "accepted": "yes" if str(n) in accepted else ""} for n, row in enumerate(rows, 1)]
    kind = str(sent.get("kind", ""))
    if kind not in list(Kind):
        raise Invalid.for_field("kind", f"There is no kind {kind!r}.", f"One of {', '.join(Kind)}.")
    about = {"name": str(sent.get("name", ""))[:200], "dataset": str(sent.get("dataset", ""))[:200]}
    return {**about, "kind": kind, "examples": rows, "drafted": drafted}


Sent = Annotated[Mapping[str, Any], Depends(_sent)]


@router.get("")
def form(request: Request, caller: Submitter, kind: Kind | None = None) -> Response:
    return written_form(request, caller, {"name": "", "kind": kind or "numeric", "examples": []})


@router.post("/more")
def more(request: Request, caller: Submitter, sent: Sent) -> Response:
    """The form again with room for another example."""
    return written_form(request, caller, sent, drafted=sent["drafted"], room=len(sent["examples"]) + 1)


@router.post("/check")
def check(request: Request, caller: Submitter, sent: Sent) -> Response:
    """A fragment: what there is to say of each example that has been begun."""
    return page(request, "_prompt_checks.html", caller, checks=_checks(sent))


@router.post("")
def create(request: Request, caller: Submitter, db: Db, sent: Sent) -> Response:
    try:
        made, _ = create_prompt_set(db, caller.project_id, _wanted(sent))
    except Invalid as refused:
        begun = [row for row in sent["examples"] if _begun(row)]  # as the errors count them
        shown, drafted, room = {**sent, "examples": begun}, sent["drafted"], len(sent["examples"])
        return written_form(request, caller, shown, drafted=drafted, problem=refused, room=room)
    if sent["drafted"] and sent["dataset"]:  # on to the job that it was drafted for
        started = url("jobs", "new", dataset=sent["dataset"], prompt_set=made.id)
        return RedirectResponse(started, status_code=303)
    return RedirectResponse(url("prompt-sets", made.id), status_code=303)


def written_form(
    request: Request,
    caller: Caller,
    sent: Mapping[str, Any],
    *,
    drafted: bool = False,
    problem: Invalid | None = None,
    room: int = FEWEST,
) -> Response:
    """The form. drafted: its examples were written by a model, and each one waits to be accepted."""
    blank = dict.fromkeys(FIELDS, "")
    rows = [*sent["examples"], *[blank] * (min(room, MOST) - len(sent["examples"]))]
    shown = {"sent": sent, "rows": rows, "kinds": list(Kind), "problem": problem, "full": len(rows) >= MOST}
    shown["drafted"] = drafted
    status = 422 if problem else 200
    return page(request, "prompt_set_new.html", caller, checks=_checks(sent), status=status, **shown)


def _checks(sent: Mapping[str, Any]) -> list[tuple[int, tuple[FieldError, ...]]]:
    """Each example that has been begun, by its number on the page, with what is wrong with it."""
    found = []
    for number, row in enumerate(sent["examples"], start=1):
        if _begun(row):
            try:
                check_prompt_set(checked(PromptSetIn, {"kind": sent["kind"], "examples": [_example(row)]}))
            except Invalid as refused:
                found.append((number, refused.errors))
            else:
                found.append((number, ()))
    return found


def _wanted(sent: Mapping[str, Any]) -> PromptSetIn:
    """Blank examples are left out. Raises Invalid for a name that is none."""
    if not sent["name"].strip():
        raise Invalid.for_field("name", "It is empty.", "Give the prompt set a name.")
    every = not sent["drafted"]
    rows = [_example(row) for row in sent["examples"] if _begun(row) and (every or row["accepted"])]
    if sent["drafted"] and not rows:
        reason = "No example is accepted yet."
        raise Invalid.for_field("examples", reason, "Read them, edit them, and tick those that are good.")
    wanted: PromptSetIn = checked(
        PromptSetIn, {"name": sent["name"].strip(), "kind": sent["kind"], "examples": rows}
    )
    return wanted


def _begun(row: Example) -> bool:
    return any(row[field] for field in FIELDS)


def _example(row: Example) -> dict[str, Any]:
    """As the API takes it: choices are a list, and what is blank is left out."""
    choices = [one.strip() for one in row["choices"].split("\n") if one.strip()]
    texts = {name: row[name].strip() for name in FIELDS if name != "choices" and row[name].strip()}
    return {**texts, **({"choices": choices} if choices else {})}


def _lines(text: str) -> str:
    """Browsers send a line break as two characters, which no model writes."""
    return text.replace("\r\n", "\n")
