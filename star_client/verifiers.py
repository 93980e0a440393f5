"""Trying judgements out: what a job would make of texts, without a job."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from star_client.objects import Fields
from star_client.transport import Request, Transport

MAX_ROWS = 100  # in a request
MAX_CHARACTERS = 900_000  # of JSON in a request; the server takes a little more


class WrongField(Fields):
    """A mistake in one field of a row."""

    field: str
    reason: str
    fix: str


class Judgement(Fields):
    """What a job would make of a row; if it could not be judged, only `errors` is set."""

    row: int  # counts from 1
    verdict: str | None = None
    extracted: str | None = None
    span: tuple[int, int] | None = None  # start and end in the completion, in characters
    canonical: str | None = None
    rule: str | None = None
    decision: str | None = None  # "kept", or why the text would not be trained on
    why: str | None = None  # the same in words
    filters: Mapping[str, str | None] = {}  # name to why it drops the text; None: it does not
    trained_on: str | None = None
    errors: tuple[WrongField, ...] = ()


class _Run(Fields):
    data: tuple[Judgement, ...]


class _Secret(Fields):
    secret: str


class Verifiers:
    """How texts are judged."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def run(self, rows: Iterable[Mapping[str, Any]]) -> tuple[Judgement, ...]:
        """Judge rows with kind, completion, answer and, where wanted, choices, question, route,
        finish_reason and options, as a job would. Any number: they go in several requests."""
        found: list[Judgement] = []
        for part in _parts(rows):
            request = Request("POST", "/v1/verifiers/run", json={"rows": part}, again=True)
            told = _Run.model_validate_json(self._transport.send(request).content).data
            before = len(found)
            found += [one.model_copy(update={"row": before + one.row}) for one in told]
        return tuple(found)

    def grader_secret(self) -> str:
        """What signs the requests to the project's graders (kind `remote`), as Standard Webhooks does."""
        answer = self._transport.send(Request("POST", "/v1/verifiers/secret", again=True))
        return _Secret.model_validate_json(answer.content).secret


def _parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    part: list[Mapping[str, Any]] = []
    characters = 0
    for row in rows:
        length = len(json.dumps(row))
        if part and (len(part) == MAX_ROWS or characters + length > MAX_CHARACTERS):
            yield part
            part, characters = [], 0
        part.append(row)
        characters += length
    if part:
        yield part
