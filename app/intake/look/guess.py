"""Guesses at a file that nobody has described yet: which column is which, and how answers are verified."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from app.intake.mapping import TEXT, Columns, mapped
from app.intake.tally import shape_of
from star_engine.data.columns import ANSWERS, chat_columns, column_for
from star_engine.data.readers import read_example
from star_engine.data.row_errors import BadRows
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import DOCUMENTS, Kind
from star_engine.tasks.starting.likely import PLAIN, likely_kind

MAX_ROWS = 200  # that are looked at
# "A", "option_b", "choice 3": columns that each hold one of the choices.
_OPTION = re.compile(r"(?:(?:opt(?:ion)?|choice|answer|ending)[\W_]*)?([A-Ha-h]|[1-8])")


def guess_mapping(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Which columns hold question, answer and choices where they are called otherwise; as far as it shows."""
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    if "question" in names and {*ANSWERS, "answerKey"} & {*names}:
        return ()
    if rows and chat_columns(rows[0]) is not None:
        return ()  # the reader knows chats
    found: dict[str, tuple[str, ...]] = {}
    if options := () if "choices" in names else _options(names):
        found["choices"] = options
    for field in ("question", "answer", "choices"):
        left = tuple(name for name in names if not any(name in columns for columns in found.values()))
        if field in names or field in found or (field == "answer" and {*ANSWERS} & {*names}):
            continue
        meant = column_for(field, left)
        if meant is not None and (field != "choices" or _lists(rows, meant)):
            found[field] = (meant,)
    if TEXT in names and not {*ANSWERS} & ({*names} | found.keys()):
        return ()  # documents, which nobody asks about
    return tuple(sorted(found.items()))


def guess_kind(rows: Sequence[Mapping[str, Any]], mapping: Columns) -> Kind | None:
    """How the answers of these rows are verified; None where there are no answers to tell it by."""
    read = [row for number, given in enumerate(rows, 1) if (row := _mapped(given, mapping, number))]
    if read and all(row.get(TEXT) and not row.keys() & {"question", *ANSWERS} for row in read):
        return DOCUMENTS
    examples = [one for row in read if (one := _as_written(row)) is not None]
    return likely_kind(
        [one.question for one in examples],
        [str(row["answer"]) for row in read if isinstance(row.get("answer"), str)] or [""] * len(examples),
        Counter(shape_of(one.answer) for one in examples),
        choices=any(row.get("choices") or isinstance(row.get("question"), Mapping) for row in read),
        programs=any("tests" in row for row in read),
    )


def _options(names: Sequence[str]) -> tuple[str, ...]:
    """Columns that hold a choice each: two or more whose marks follow one another from the first."""
    marks = {found[1].upper(): name for name in names if (found := _OPTION.fullmatch(name.strip()))}
    for run in ("ABCDEFGH", "12345678"):
        taken = []
        for mark in run:
            if mark not in marks:
                break
            taken.append(marks[mark])
        if len(taken) > 1:
            return tuple(taken)
    return ()


def _lists(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether a column holds lists, also as JSON in a cell."""
    values = [row[name] for row in rows if row.get(name) not in (None, "")]
    return bool(values) and all(
        isinstance(one, list | Mapping) or (isinstance(one, str) and one.lstrip().startswith("["))
        for one in values
    )


def _mapped(row: Mapping[str, Any], mapping: Columns, line: int) -> Mapping[str, Any] | None:
    try:
        return mapped(row, mapping, line)
    except BadRows:
        return None


def _as_written(row: Mapping[str, Any]) -> Example | None:
    """The row with its answer as it is written."""
    try:
        return read_example(row, PLAIN)
    except BadRows:
        return None
