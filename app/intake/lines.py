"""Accepted rows as lines of the text format of PostgreSQL's COPY, which a database takes by the megabyte.

A line break in a line only ever ends it, so whoever stores the rows may put a column of his own before each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

COLUMNS = (
    "split",
    "position",
    "external_id",
    "question",
    "answer",
    "choices",
    "group",
    "solution",
    "context",
)
_NULL = "\\N"
_WRITTEN = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_READ = {written[1]: plain for plain, written in _WRITTEN.items()}
_ESCAPE = re.compile(r"\\(.)")


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row of the examples table, all columns but the dataset's, as a line."""
    lists = {name: as_json(row[name]) for name in ("choices", "context")}
    tail = joined([{**row, **lists}[name] for name in COLUMNS[2:]])
    return placed(row["split"], row["position"], tail)


def joined(values: Iterable[str | None]) -> str:
    """All of a line but where the row stands, known before its split and position are."""
    return "\t".join(map(_escaped, values))


def placed(split: str, position: int, tail: str) -> bytes:
    """The line. `tail`: of joined()."""
    return f"{split}\t{position}\t{tail}\n".encode()


def question_of(tail: str) -> str:
    """What joined() took as question, behind the texts of its context."""
    fields = tail.split("\t")
    question, context = _unescaped(fields[1]), fields[-1]
    if context == _NULL:
        return question
    return " ".join([*(text for pair in json.loads(_unescaped(context)) for text in pair), question])


def as_json(value: Sequence[Any] | None) -> str | None:
    """A list as its column holds it."""
    return None if value is None else json.dumps(value)


def _escaped(text: str | None) -> str:
    if text is None:
        return _NULL
    if "\\" in text or "\n" in text or "\r" in text or "\t" in text:  # four scans take a tenth of a replace
        for plain, written in _WRITTEN.items():  # the backslash comes first
            text = text.replace(plain, written)
    return text


def fields_of(line: bytes) -> list[str | None]:
    """What line_of() wrote, in the order of COLUMNS, lists as JSON."""
    texts = line.decode().removesuffix("\n").split("\t")
    return [None if text == _NULL else _unescaped(text) for text in texts]


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_plain, text) if "\\" in text else text


def _plain(escape: re.Match[str]) -> str:
    return _READ[escape[1]]
