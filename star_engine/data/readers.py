"""Rows as people have them, read strictly: every mistake is named, with its row, field and fix.

Native rows are {"id"?, "question", "answer", "choices"?, "solution"?, "group"?, "split"?}; "messages" may
stand for question, solution and the turns before them. The published formats of GSM8K and CommonsenseQA are
recognised as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from star_engine.data.choices import BadChoices, counted_from, read_choices
from star_engine.data.documents import read_document
from star_engine.data.messages import native_row
from star_engine.data.row_errors import BadRows, RowError, gold_error
from star_engine.data.row_fields import RowFields
from star_engine.tasks.examples import Example
from star_engine.tasks.grading import NO_OPTIONS
from star_engine.tasks.kind import Kind, reads_documents
from star_engine.tasks.registry import task_of
from star_engine.tasks.task import Task
from star_engine.tasks.verdict import BadGold, SlowGold

MAX_CACHED = 64  # characters of an answer whose check is remembered
SAMPLE = 1000  # rows that show how a data set counts its choices
_JSON = json.JSONDecoder(parse_float=str)  # json.loads with an option makes a new one for every row


def read_examples(
    lines: Iterable[str | bytes], kind: Kind, answers: str | None = None
) -> Iterator[Example | RowError]:
    """Read JSONL: an Example for every good row, every RowError of a bad one. Blank lines are skipped.

    answers: the field that the column `answer` is read as; see answer_field(). Rows without an id are called
    "row-1", "row-2"... by their line. Streams: memory holds ids and nothing else.
    """
    first_seen: dict[str, int] = {}
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            row = parse_row(text, line)
            if answers is not None and "answer" in row:
                row = {name: value for name, value in row.items() if name != "answer"} | {
                    answers: row["answer"]
                }
            example = read_example(row, kind, line=line)
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
    if reads_documents(kind):
        return read_document(row, line)
    errors: list[RowError] = []
    task = task_of(kind)
    try:
        row, context = native_row(row, line, task)
        native = _native(row, task)
    except BadGold as bad:
        reason, _, fix = str(bad).partition("; ")
        fix = f"{fix[:1].upper()}{fix[1:]}."
        raise BadRows([RowError(line, "tests", f"The row {reason}.", fix)]) from None
    fields = RowFields(native, line, errors)
    fields.refuse_no_row()
    question = fields.unmarked("question", fields.text("question", "Give the question as text."))
    choices = fields.choices() if task.takes_choices else None
    if not task.takes_choices:
        fields.refuse_choices(task)
    plain = None if choices else fields.answer(programs=task.runs_programs)
    answer, certain = fields.chosen(choices) if choices else (plain or "", False)
    example = Example(
        id=fields.name("id") or f"row-{line}",
        question=question,
        answer=answer,
        choices=choices.texts if choices else None,
        group=fields.name("group"),
        split=fields.split(),
        solution=fields.solution(),
        context=context,
    )
    fields.refuse_unfit_turns(context)
    fields.refuse_misspelt()
    if example.answer and (choices or not task.takes_choices):
        example = _with_gold(example, task, line, errors, certain)
    if errors:
        raise BadRows(errors)
    return example


def answer_field(rows: Iterable[Mapping[str, Any]], kind: Kind) -> str | None:
    """Return answer_index or answer_number if the answers of these rows are certainly positions of choices,
    counted from 0 or from 1; else None.

    A sample of a file is enough: a later row that does not fit is refused.
    """
    task, seen = task_of(kind), []
    for row in islice(rows, SAMPLE) if task.takes_choices else ():
        native = _native(row, task)
        try:
            seen.append((read_choices(native.get("choices")), native.get("answer")))
        except BadChoices:
            continue
    return {0: "answer_index", 1: "answer_number", None: None}[counted_from(seen)]


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
        is_json = decoded.lstrip().startswith(("{", "["))  # else one reason for all lines of a table
        reason = f"Not JSON: {problem}." if is_json else "Not JSON: the line does not begin with {."
        raise BadRows([RowError(line, "row", reason, fix)]) from problem
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
    return task.native(row)


def _from_commonsenseqa(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """{"answerKey", "id", "question": {"stem", "choices": [{"label", "text"}]}}, or its flat hub copy."""
    question = row["question"]
    nested = isinstance(question, Mapping)
    native = {key: row[key] for key in ("id", "group", "split", "solution") if key in row}
    choices = question.get("choices") if nested else row.get("choices")
    stem = question.get("stem") if nested else question
    return native | {"question": stem, "choices": choices, "answer": row["answerKey"]}


def _with_gold(example: Example, task: Task, line: int, errors: list[RowError], certain: bool) -> Example:
    """The example with its gold as the kind stores it, verified against itself where all else is right.

    certain: it is in that form already.
    """
    try:
        example = example if certain else task.read_gold(example)
        problem = None if errors else _gold_problem(task, example)
    except BadGold as bad:
        errors.append(gold_error(line, "answer", example.answer, bad))
        return example
    if problem is not None:
        errors.append(gold_error(line, "answer", example.answer, ValueError(problem)))
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
