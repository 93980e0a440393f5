"""Rows as people have them, read strictly: every mistake is named, with its row, field and fix.

Native rows are {"id"?, "question", "answer", "choices"?, "solution"?, "group"?, "split"?}. The published
formats of GSM8K and CommonsenseQA are recognised as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from math import isfinite
from typing import Any, get_args

from star_engine.tasks.examples import Example, Split, choice_letter
from star_engine.tasks.grading import NO_OPTIONS
from star_engine.tasks.hints import HINT_MARK
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of
from star_engine.tasks.task import Task
from star_engine.tasks.verdict import BadGold, SlowGold

MAX_CHOICES = 26
MAX_CACHED = 64  # characters of an answer whose check is remembered
MAX_COLUMNS = 1000  # of a row; published files have some 50
MAX_MISSPELT = 20  # characters; the fields have 2 to 8
MAX_ANSWER = 10_000  # characters: to verify one takes 0.1 ms per 1,000 of them
_FIELDS = frozenset({"id", "question", "answer", "choices", "solution", "group", "split"})
_SPLITS: tuple[Split, ...] = get_args(Split)
_JSON = json.JSONDecoder(parse_float=str)  # json.loads with an option makes a new one for every row
_HINT_MARK = HINT_MARK.casefold()
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class RowError:
    """What is wrong with a row, for its author. `line` counts rows or few-shot examples from 1."""

    line: int
    field: str
    reason: str
    fix: str
    slow: bool = False  # the check of the answer was given up at its time limit

    def __str__(self) -> str:
        return f"row {self.line}, {self.field}: {self.reason} {self.fix}"


class BadRows(ValueError):
    """Rows that cannot be used; `errors` names every mistake found in them."""

    def __init__(self, errors: Iterable[RowError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


def read_examples(lines: Iterable[str | bytes], kind: Kind) -> Iterator[Example | RowError]:
    """Read JSONL: an Example for every good row, every RowError of a bad one. Blank lines are skipped.

    Rows without an id are called "row-1", "row-2"... by their line. Streams: memory holds ids and nothing
    else.
    """
    first_seen: dict[str, int] = {}
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            example = read_example(parse_row(text, line), kind, line=line)
        except BadRows as bad:
            yield from bad.errors
            continue
        earlier = first_seen.setdefault(example.id, line)
        if earlier == line:
            yield example
        else:
            yield RowError(line, "id", f"{example.id!r} is the id of row {earlier} too.", "Make ids unique.")


def read_example(row: Mapping[str, Any], kind: Kind, *, line: int = 1) -> Example:
    """Read one row as an Example whose answer verifies against itself. Raises BadRows with every
    mistake in it.
    """
    errors: list[RowError] = []
    task = task_of(kind)
    native = _native(row, task)
    fields = _Fields(native, line, errors)
    question = fields.unmarked("question", fields.text("question", "Give the question as text."))
    choices = fields.choices(task)
    example = Example(
        id=fields.name("id") or f"row-{line}",
        question=question,
        answer=fields.answer(),
        choices=choices,
        group=fields.name("group"),
        split=fields.split(),
        solution=fields.solution(),
    )
    fields.refuse_misspelt()
    if example.answer and (choices or not task.takes_choices):
        example = _with_gold(example, task, line, errors)
    if errors:
        raise BadRows(errors)
    return example


def parse_row(text: str | bytes, line: int) -> Mapping[str, Any]:
    """The JSON object of a line. Raises BadRows where there is none."""
    try:
        decoded = text.decode("utf-8-sig" if line == 1 else "utf-8") if isinstance(text, bytes) else text
        row = _JSON.decode(decoded)
    except UnicodeDecodeError as problem:
        raise BadRows(
            [RowError(line, "row", f"Not UTF-8: {problem}.", "Save the file as UTF-8.")]
        ) from problem
    except (ValueError, RecursionError) as problem:  # ValueError also for an integer of over 4300 digits
        fix = "Write one JSON object per line (JSONL)."
        raise BadRows([RowError(line, "row", f"Not JSON: {problem}.", fix)]) from problem
    if not isinstance(row, dict):
        fix = 'Write {"question": ..., "answer": ...}.'
        raise BadRows([RowError(line, "row", f"A {type(row).__name__}, not an object.", fix)])
    return row


def _native(row: Mapping[str, Any], task: Task) -> Mapping[str, Any]:
    """The row in native fields; a row of a published format is translated, any other comes back as it is."""
    if "answerKey" in row and "question" in row:
        return _from_commonsenseqa(row)
    answer = row.get("answer")
    mark = task.solution_mark
    if mark is not None and isinstance(answer, str) and f"\n{mark}" in answer:
        # The whole is a human solution. STaR must not see it, or it would be plain fine-tuning.
        return {"solution": answer, **row, "answer": answer.rsplit(mark, 1)[1].strip()}
    return row


def _from_commonsenseqa(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """{"answerKey", "id", "question": {"stem", "choices": [{"label", "text"}]}}, or its flat hub copy."""
    question = row["question"]
    nested = isinstance(question, Mapping)
    choices = question.get("choices") if nested else row.get("choices")
    if isinstance(choices, Mapping):
        labels, texts = choices.get("label", []), choices.get("text", [])
    else:
        pairs = [c for c in choices or [] if isinstance(c, Mapping)]
        labels, texts = [c.get("label") for c in pairs], [c.get("text") for c in pairs]
    native = {key: row[key] for key in ("id", "group", "split", "solution") if key in row}
    key = row["answerKey"]
    letter = choice_letter(labels.index(key)) if key in labels and len(labels) <= MAX_CHOICES else key
    native |= {"question": question.get("stem") if nested else question, "choices": texts, "answer": letter}
    return native


@lru_cache(maxsize=1 << 12)  # the columns of a file are those of each of its rows
def _like(column: str) -> tuple[str, ...]:
    """Fields that a column may be a misspelling of, the likeliest first."""
    if len(column) > MAX_MISSPELT:
        return ()
    return tuple(get_close_matches(column.lower(), sorted(_FIELDS), n=len(_FIELDS), cutoff=0.8))


@dataclass(slots=True)
class _Fields:
    """Reads one native row field by field and collects mistakes instead of raising."""

    row: Mapping[str, Any]
    line: int
    errors: list[RowError]

    def refuse(self, field: str, reason: str, fix: str) -> None:
        self.errors.append(RowError(self.line, field, reason, fix))

    def text(self, field: str, fix: str) -> str:
        value = self.row.get(field)
        if not isinstance(value, str) or not value.strip():
            self.refuse(field, "Missing." if value is None else "Not a text, or empty.", fix)
            return ""
        return self._storable(field, value.strip())

    def answer(self) -> str:
        value = self.row.get("answer")
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, float):
            if not isfinite(value):
                self.refuse(
                    "answer", f"{str(value)!r} is no number.", "Give the gold answer as text or as a number."
                )
            return repr(value)
        text = self.text("answer", "Give the gold answer as text or as a number.")
        if len(text) > MAX_ANSWER:
            self.refuse(
                "answer", f"{len(text)} characters long.", "Give the bare answer, without its reasons."
            )
            return text[:MAX_ANSWER]
        return text

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

    def choices(self, task: Task) -> tuple[str, ...] | None:
        value = self.row.get("choices")
        if not task.takes_choices:
            if value is not None:
                self.refuse(
                    "choices", f"A {task.kind} question has no choices.", "Leave it out or use kind choice."
                )
            return None
        if not isinstance(value, list | tuple) or not 2 <= len(value) <= MAX_CHOICES:
            self.refuse("choices", "Not a list of 2 to 26 texts.", 'Write ["first", "second", ...].')
            return None
        if not all(isinstance(choice, str) and choice.strip() for choice in value):
            self.refuse(
                "choices", "Holds something that is not a text, or is empty.", "Give every choice a text."
            )
            return None
        return tuple(self._one_choice(choice.strip()) for choice in value)

    def refuse_misspelt(self) -> None:
        """Refuse extra columns that look like a misspelt name of a missing field; others are ignored."""
        if self.row.keys() <= _FIELDS:
            return
        if len(self.row) > MAX_COLUMNS:
            self.refuse("row", f"It has {len(self.row)} columns.", f"Leave out all but {MAX_COLUMNS}.")
            return
        for field in sorted(self.row.keys() - _FIELDS):
            meant = next((one for one in _like(field) if one not in self.row), None)
            if meant:
                self.refuse(field, "Not a field of a row.", f"Write {meant!r} if that is meant.")

    def _one_choice(self, choice: str) -> str:
        if "\n" in choice:
            self.refuse("choices", f"{choice!r} has a line break.", "Write every choice on one line.")
        return self.unmarked("choices", self._storable("choices", choice))

    def unmarked(self, field: str, text: str) -> str:
        """The text, which must not look as if it were hinted at: the hint audit would stop the job."""
        if _HINT_MARK in text.casefold():
            self.refuse(field, f'Carries the hint mark "{HINT_MARK}".', "Remove it.")
        return text

    def _storable(self, field: str, text: str) -> str:
        if "\x00" in text or (not text.isascii() and _SURROGATE.search(text)):
            self.refuse(field, "Holds a NUL or half a character.", "Remove it: it cannot be stored.")
        return text


def _with_gold(example: Example, task: Task, line: int, errors: list[RowError]) -> Example:
    """The example with its gold as the kind stores it, verified against itself where all else is right."""
    slow = False
    try:
        example = task.read_gold(example)
        problem = None if errors else _gold_problem(task, example)
    except BadGold as bad:
        problem, slow = str(bad), isinstance(bad, SlowGold)
    if problem is not None:
        reason, _, fix = problem.partition("; ")  # how the kinds word it
        fix = (fix or "give an answer that this kind can verify") + "."
        fix = fix[0].upper() + fix[1:]
        errors.append(RowError(line, "answer", f"{example.answer!r} {reason}.", fix, slow))
    return example


def _gold_problem(task: Task, example: Example) -> str | None:
    """As far as it can be told without the options of a job."""
    # What another process said is not remembered: it may have failed for a reason that passes.
    if task.slow_gold or example.choices is not None or len(example.answer) > MAX_CACHED:
        return _checked(task, example)
    return _checked_answer(task.kind, example.answer)


@lru_cache(maxsize=1 << 14)  # the answers of a million rows repeat, and to verify one takes 0.2 ms
def _checked_answer(kind: str, answer: str) -> str | None:
    return _checked(task_of(kind), Example("", "", answer))


def _checked(task: Task, example: Example) -> str | None:
    try:
        task.check_gold(example, NO_OPTIONS)
    except SlowGold:
        raise
    except ValueError as problem:
        return str(problem)
    return None
