"""Trying a judgement out: one text, and what a job would make of it."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Form, Request, Response

from app.dashboard.rendering import page
from app.dashboard.session import Viewer
from app.data.verifiers import VerifierRunIn, run_verifiers
from app.errors import Invalid
from app.http.dependencies import Config
from app.http.router import page_router
from star_engine.tasks.registry import TASKS

router = page_router("/verifiers")
LONGEST = 200_000  # characters of a field

Short = Annotated[str, Form(max_length=200)]
Long = Annotated[str, Form(max_length=LONGEST)]


@router.get("")
def show(request: Request, caller: Viewer) -> Response:
    return page(request, "verifiers.html", caller, kinds=list(TASKS))


@router.post("/run")
def run(
    request: Request,
    caller: Viewer,
    settings: Config,
    kind: Short,
    completion: Long,
    answer: Long,
    choices: Long = "",
    question: Long = "",
    route: Short = "generated",
    finish_reason: Short = "stop",
    options: Long = "",
) -> Response:
    """A fragment: the verdict, where the answer stands, what filters say and what would be trained on."""
    text = _lines(completion)
    row: dict[str, Any] = {
        "kind": kind,
        "completion": text,
        "answer": _lines(answer),
        "choices": [one for one in _lines(choices).split("\n") if one.strip()] or None,
        "question": _lines(question) or None,
        "route": route,
        "finish_reason": finish_reason,
        "options": _options(options),
    }
    [found] = run_verifiers(settings, caller.project_id, VerifierRunIn(rows=[row])).data
    start, end = found.span or (0, 0)
    parts_of_text = (text[:start], text[start:end], text[end:])
    return page(request, "_judgement.html", caller, found=found, around=parts_of_text)


def _lines(text: str) -> str:
    """Browsers send a line break as two characters, which no model writes."""
    return text.replace("\r\n", "\n")


def _options(text: str) -> dict[str, Any] | None:
    if not text.strip():
        return None
    try:
        options = json.loads(text)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise Invalid.for_field("options", "Not a JSON object.", 'Write it like {"fallback": "last_number"}.')
    return options
