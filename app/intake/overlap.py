"""Finds held-out questions that are also trained on: accuracy on them says nothing about learning."""

from __future__ import annotations

import json
from sqlite3 import Connection
from typing import Any

from star_engine.data.row_errors import RowError
from star_engine.tasks.examples import folded

MAX_NAMED = 20  # examples, answers or groups that are named; all are counted
_HELD = """SELECT line, id, split, key, choices FROM rows WHERE split <> 'train' AND EXISTS
    (SELECT 1 FROM rows AS other WHERE other.key = rows.key AND other.split = 'train') ORDER BY line"""
_TRAINED = """SELECT key, choices, id FROM rows WHERE split = 'train' AND key IN
    (SELECT key FROM rows WHERE split <> 'train') ORDER BY line DESC"""
_Asked = tuple[bytes, frozenset[str]]


def exact_overlap(rows: Connection) -> dict[str, Any]:
    """Held-out examples whose question is trained on, of a finished and carved Scratch."""
    found = _overlapping(rows)
    named = [{"id": one, "split": split, "same_as": same} for _, one, split, same in found[:MAX_NAMED]]
    return {"examples": len(found), "named": named}


def refused_overlap(rows: Connection, most: int) -> tuple[int, list[RowError]]:
    """How many held-out rows ask what a row of the train split asks, and the first of them as mistakes."""
    found = _overlapping(rows)
    fix = "Remove one of the two, mark both with one split, or upload it with allow_overlap=true."
    errors = [
        RowError(
            line, "question", f"It is held out ({split}), and {same!r} trains on the same question.", fix
        )
        for line, _, split, same in found[:most]
    ]
    return len(found), errors


def _overlapping(rows: Connection) -> list[tuple[int, str, str, str]]:
    """Line, id and split of each, and the id of the first row that trains on it.

    Case and white space aside. "Which of these is true?" with other choices is another question.
    """
    held = rows.execute(_HELD).fetchall()
    if not held:
        return []
    trained = {_asked(key, choices): name for key, choices, name in rows.execute(_TRAINED)}
    return [
        (line, name, split, trained[asked])
        for line, name, split, key, choices in held
        if (asked := _asked(key, choices)) in trained
    ]


def _asked(key: bytes, choices: str | None) -> _Asked:
    return key, frozenset(map(folded, json.loads(choices))) if choices else frozenset()
