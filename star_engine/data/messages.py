"""Conversations in rows and prompt sets: {"messages": [{"role": "user", "content": ...}, ...]}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from star_engine.data.row_errors import BadRows, RowError
from star_engine.tasks.examples import Context, Example
from star_engine.tasks.grading import grade
from star_engine.tasks.task import Task

FIELD = "messages"


def exchanges(row: Mapping[str, Any], line: int) -> list[tuple[str, str | None]]:
    """Each user turn with the assistant turn behind it; None where there is none. Raises BadRows.

    A system turn is refused: the system prompt is the job's, so that all of its questions have the same one.
    """
    turns = row.get(FIELD)
    if not isinstance(turns, list | tuple) or not turns:
        raise _bad(line, "Not a list of turns.", 'Write [{"role": "user", "content": ...}, ...].')
    found: list[tuple[str, str | None]] = []
    for number, turn in enumerate(turns, start=1):
        role, content = _read(turn, number, line)
        if role == "user" and (not found or found[-1][1] is not None):
            found.append((content, None))
        elif role == "assistant" and found and found[-1][1] is None:
            found[-1] = (found[-1][0], content)
        else:
            fix = "Let user and assistant take turns, the user first."
            raise _bad(line, f"Turn {number} is a second one of {role}, or comes too early.", fix)
    return found


def native_row(row: Mapping[str, Any], line: int, task: Task) -> tuple[Mapping[str, Any], Context]:
    """A row of a dataset, and the turns before its question.

    What the user asks last is its question, what the assistant says behind it the worked solution. Only where
    the row gives its gold answer beside the conversation: nothing else tells it from the reasoning in which
    it stands.
    """
    if row.get(FIELD) is None or row.get("question") is not None or row.get("answer") is None:
        return row, ()
    *earlier, (question, solution) = exchanges(row, line)
    context = tuple((asked, said) for asked, said in earlier if said is not None)  # None in the last one only
    if context and task.layout.working:
        fix = "Give one user turn, with an assistant turn behind it at most."
        raise _bad(line, f"A {task.kind} question is worked out from its own digits: it has no context.", fix)
    native = {name: value for name, value in row.items() if name != FIELD} | {"question": question}
    return (native if solution is None else {"solution": solution, **native}), context


def native_few_shot(row: Mapping[str, Any], task: Task, line: int) -> list[Mapping[str, Any]]:
    """An entry of a prompt set as rows with question, rationale and answer: one for each exchange.

    An answer that the entry does not give is read from what the assistant says.
    """
    if FIELD not in row:
        return [row]
    found = exchanges(row, line)
    beside = {name: value for name, value in row.items() if name != FIELD}
    if len(found) > 1 and "answer" in beside:
        fix = "Split it up, or leave the answer out: it is read from each assistant turn."
        raise _bad(line, f"One answer for {len(found)} questions.", fix)
    rows: list[Mapping[str, Any]] = []
    for question, rationale in found:
        native = {**beside, "question": question, "rationale": rationale}
        if rationale is not None and "answer" not in beside:
            native["answer"] = _answer_in(rationale, native, task, line)
        rows.append(native)
    return rows


def _answer_in(rationale: str, row: Mapping[str, Any], task: Task, line: int) -> str:
    if task.required_option is not None:
        fix = 'Give {"messages": [...], "answer": ...} with one question.'
        raise _bad(line, f"Which part of a text is the answer only the job's {task.kind} can tell.", fix)
    choices = row.get("choices")
    asked = Example("", row["question"], "", tuple(choices) if isinstance(choices, list | tuple) else None)
    found = grade(task, task.any_gold(asked), rationale)  # only what is extracted is read
    if found.extracted is None:
        reason = f"No answer can be read from what the assistant says ({found.verdict})."
        raise _bad(line, reason, f"{task.how_to_end}, or give the answer beside the messages.")
    return found.extracted


def _read(turn: Any, number: int, line: int) -> tuple[str, str]:
    role = turn.get("role") if isinstance(turn, Mapping) else None
    content = turn.get("content") if isinstance(turn, Mapping) else None
    if role == "system":
        fix = "Leave it out here, and give it to the job: config.chat.system."
        raise _bad(line, f"Turn {number} is a system prompt.", fix)
    if role not in ("user", "assistant"):
        raise _bad(line, f"Turn {number} has no role that is known.", "Use user and assistant.")
    if not isinstance(content, str) or not content.strip():
        raise _bad(line, f"Turn {number} has no text.", "Give its content as text.")
    return role, content.strip()


def _bad(line: int, reason: str, fix: str) -> BadRows:
    return BadRows([RowError(line, FIELD, reason, fix)])
