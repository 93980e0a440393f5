"""Reads and checks the fields of one row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, get_args

from star_engine.data.choices import (
    AmbiguousIndex,
    BadChoices,
    RowChoices,
    check_letters,
    gold_letter,
    letter_at,
    letter_of_text,
    read_choices,
)
from star_engine.data.columns import ANSWERS, FIELDS, chat_columns, column_for
from star_engine.data.numbers import shown_number
from star_engine.data.row_errors import BadRows, RowError, gold_error
from star_engine.tasks.examples import Context, Split
from star_engine.tasks.hints import HINT_MARK
from star_engine.tasks.task import Task
from star_engine.tasks.verdict import BadGold

MAX_COLUMNS = 1000  # of a row; published files have some 50
MAX_MISSPELT = 20  # characters; the fields have 2 to 8
MAX_TESTS = 200_000  # characters of the tests of a program, which are data and not read here
MAX_ANSWER = 10_000  # characters: to verify one takes 0.1 ms per 1,000 of them
ALL_FIELDS = frozenset(FIELDS)
_GIVE_ANSWER = "Give the gold answer as text or as a number."
_SPLITS: tuple[Split, ...] = get_args(Split)
_HINT_MARK = HINT_MARK.casefold()
_SURROGATE = re.compile("[\ud800-\udfff]")


@lru_cache(maxsize=1 << 12)  # the columns of a file are those of each of its rows
def _like(column: str) -> tuple[str, ...]:
    """Fields that a column may be a misspelling of, the likeliest first."""
    if len(column) > MAX_MISSPELT:
        return ()
    return tuple(get_close_matches(column.lower(), sorted(ALL_FIELDS), n=len(ALL_FIELDS), cutoff=0.8))


@dataclass(slots=True)
class RowFields:
    """Reads one native row field by field and collects mistakes instead of raising."""

    row: Mapping[str, Any]
    line: int
    errors: list[RowError]

    def refuse(self, field: str, reason: str, fix: str) -> None:
        self.errors.append(RowError(self.line, field, reason, fix))

    def text(self, field: str, fix: str) -> str:
        value = self.row.get(field)
        if not isinstance(value, str) or not value.strip():
            if isinstance(value, bool):
                self.refuse(field, "Not a text: true or false.", 'Write it as a text: "yes" or "no".')
            elif value is None:
                self.missing(field, fix)
            else:
                self.refuse(field, "Not a text, or empty.", fix)
            return ""
        return self.storable(field, value.strip())

    def missing(self, field: str, fix: str) -> None:
        meant = column_for(field, tuple(self.row))
        if meant is None:
            return self.refuse(field, "Missing.", fix)
        fix = f"{fix} If {meant!r} is that, rename it to {field!r}."
        return self.errors.append(RowError(self.line, field, "Missing.", fix, columns=((field, meant),)))

    def refuse_no_row(self) -> None:
        """Raise BadRows for a chat, whose gold answer only its author can name, and for a wrapped file."""
        if "question" in self.row:
            return None
        if (chat := chat_columns(self.row)) is None:
            return self._refuse_wrapped()
        name, columns = chat
        fix = 'Write {"question": ..., "answer": ...}, the answer alone without the reasoning.'
        reason = "A chat, as fine-tuning APIs take it, not a question with an answer that can be checked."
        raise BadRows([RowError(self.line, name, reason, fix, columns=columns)])

    def _refuse_wrapped(self) -> None:
        lists = [
            name
            for name, value in self.row.items()
            if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value)
        ]
        if len(lists) == 1 and len(self.row) <= 4:
            reason = f"One object that holds the rows, in a list under {lists[0]!r}."
            fix = f"Send that list alone: jq '.{lists[0]}' FILE > rows.json."
            raise BadRows([RowError(self.line, lists[0], reason, fix)])

    def answer(self, *, programs: bool = False) -> str:
        value = self.row.get("answer")
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = shown_number(value)
            if not shown.strip("-").isalpha():  # nan, inf
                return shown
            self.refuse("answer", f"{shown!r} is no number.", _GIVE_ANSWER)
            return ""
        if isinstance(value, date):
            return value.isoformat().removesuffix("T00:00:00")
        text = self.text("answer", _GIVE_ANSWER)
        most = MAX_TESTS if programs else MAX_ANSWER
        if len(text) > most:
            self.refuse(
                "answer", f"{len(text)} characters long.", "Give the bare answer, without its reasons."
            )
            return text[:most]
        return text

    def chosen(self, choices: RowChoices) -> tuple[str, bool]:
        """Return the gold answer and whether it is already the letter of a choice."""
        field = next((one for one in ANSWERS if self.row.get(one) is not None), "answer")
        try:
            if field == "answer_text":
                given = self.text(field, _GIVE_ANSWER)
                return (letter_of_text(choices, given) if given else ""), True
            if field in ("answer_index", "answer_number"):
                return self._placed(field, choices), True
            given = self.answer()
            found = gold_letter(choices, given) if given else None
            return (given, False) if found is None else (found, True)
        except BadGold as bad:
            columns = tuple((one, field) for one in ANSWERS[1:]) if isinstance(bad, AmbiguousIndex) else ()
            self.errors.append(gold_error(self.line, field, self.row.get(field), bad, columns))
            return "", True

    def _placed(self, field: str, choices: RowChoices) -> str:
        given = self.row[field]
        shown = shown_number(given) if isinstance(given, int | float) else str(given).strip()
        shown = shown.removesuffix(".0")  # of a table with a gap
        if isinstance(given, bool) or not shown.isdecimal() or len(shown) > 2:
            raise BadGold("is no place of a choice; give a whole number")
        return letter_at(choices, int(shown), counted_from=0 if field == "answer_index" else 1)

    def name(self, field: str) -> str | None:
        value = self.row.get(field)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        text = self.text(field, "Give a short text, or leave it out.")
        if len(text) > 200:
            self.refuse(field, f"{len(text)} characters long.", "Use at most 200.")
        return text or None

    def solution(self) -> str | None:
        if self.row.get("solution") is None:
            return None
        text = self.text("solution", "Give the worked solution as text, or leave it out.")
        return self.unmarked("solution", text) or None

    def split(self) -> Split | None:
        value = self.row.get("split")
        if value is None:
            return None
        for split in _SPLITS:
            if value == split:
                return split
        self.refuse("split", f"{value!r} is no split.", "Use train, validation or test, or leave it out.")
        return None

    def refuse_choices(self, task: Task) -> None:
        if self.row.get("choices") is not None:
            fix = "Leave it out or use kind choice."
            self.refuse("choices", f"A {task.kind} question has no choices.", fix)

    def choices(self) -> RowChoices | None:
        if self.row.get("choices") is None and (meant := column_for("choices", tuple(self.row))) is not None:
            fix = f"If {meant!r} is that, rename it to 'choices'."
            error = RowError(self.line, "choices", "Not a list of 2 to 26 texts.", fix)
            self.errors.append(replace(error, columns=(("choices", meant),)))
            return None
        try:
            found = read_choices(self.row.get("choices"))
            check_letters(found, (self.row.get("question"), self.row.get("solution"), *found.texts))
        except BadChoices as bad:
            self.refuse("choices", bad.reason, bad.fix)
            return None
        return replace(found, texts=tuple(map(self._one_choice, found.texts)))

    def refuse_misspelt(self) -> None:
        """Refuse extra columns that look like a misspelt name of a missing field; others are ignored."""
        if self.row.keys() <= ALL_FIELDS:
            return
        if len(self.row) > MAX_COLUMNS:
            self.refuse("row", f"It has {len(self.row)} columns.", f"Leave out all but {MAX_COLUMNS}.")
            return
        for field in sorted(self.row.keys() - ALL_FIELDS):
            meant = next((one for one in _like(field) if one not in self.row), None)
            if meant:
                self.refuse(field, "Not a field of a row.", f"Write {meant!r} if that is meant.")

    def _one_choice(self, choice: str) -> str:
        if "\n" in choice:
            self.refuse("choices", f"{choice!r} has a line break.", "Write every choice on one line.")
        return self.unmarked("choices", self.storable("choices", choice))

    def refuse_unfit_turns(self, context: Context) -> None:
        """The texts before the question are held to what it is held to."""
        for text in (text for exchange in context for text in exchange):
            self.unmarked("messages", self.storable("messages", text))

    def unmarked(self, field: str, text: str) -> str:
        """The text, which must not look as if it were hinted at: the hint audit would stop the job."""
        if _HINT_MARK in text.casefold():
            self.refuse(field, f'Carries the hint mark "{HINT_MARK}".', "Remove it.")
        return text

    def storable(self, field: str, text: str) -> str:
        """The text, which a database must be able to store."""
        if "\x00" in text or (not text.isascii() and _SURROGATE.search(text)):
            self.refuse(field, "Holds a NUL or half a character.", "Remove it: it cannot be stored.")
        return text
