"""Reading and checking prompt sets: JSON, or the plain text in which the paper and its code publish them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from star_engine.data.files import text_of
from star_engine.data.messages import native_few_shot
from star_engine.data.overlap import AskedFor, asked_for
from star_engine.data.prompts import stops
from star_engine.data.readers import read_example
from star_engine.data.row_errors import BadRows, RowError
from star_engine.filters.filter_input import FilterInput
from star_engine.filters.hint_markers import hint_markers
from star_engine.tasks.examples import Example, FewShotExample, PromptSet, choice_letter, folded
from star_engine.tasks.grading import grade
from star_engine.tasks.hints import HINT_MARK
from star_engine.tasks.kind import Kind
from star_engine.tasks.reading.cut import cut_at_first_stop
from star_engine.tasks.registry import TASKS, task_of
from star_engine.tasks.task import Task


def read_prompt_set(data: Mapping[str, Any] | str | bytes, kind: Kind | None = None) -> PromptSet:
    """A checked prompt set from parsed JSON, JSON text or plain text. Raises BadRows with every mistake.

    JSON is {"kind", "examples": [{"question", "rationale", "answer", "choices"?, "group"?}]}; an entry may be
    a conversation instead, {"messages": [...]} with a user and an assistant turn for each example. Plain text
    is the few-shot prompt itself, blocks separated by blank lines; there the answer is read from the
    rationale, which for the kind pattern no one but the job could do. `kind` is needed only where the data
    does not say it (JSON without a kind; text that several kinds share is else numeric) and must agree where
    it does.
    """
    if isinstance(data, bytes):
        data = text_of(data)
    if isinstance(data, str) and data.lstrip().startswith("{"):
        data = _parsed(data)
    found = _from_text(data, kind) if isinstance(data, str) else _from_json(data, kind)
    errors = check_prompt_set(found)
    if errors:
        raise BadRows(errors)
    return found


def check_prompt_set(prompt_set: PromptSet, **options: Any) -> list[RowError]:
    """Every few-shot example that does not lead to its own answer, and how to fix it. Empty: all is well.

    `options` are the verifier's. Without its expression, a rationale of kind pattern cannot be verified.
    """
    if not prompt_set.examples:
        return [RowError(0, "examples", "The prompt set is empty.", "Give at least one few-shot example.")]
    return [
        error
        for number, example in enumerate(prompt_set.examples, start=1)
        for error in _check(prompt_set.kind, number, example, options)
    ]


def prompt_set_warnings(prompt_set: PromptSet) -> list[str]:
    """What its author should know: examples that ask the same, and answers that contradict one another."""
    asked: dict[AskedFor, list[int]] = {}
    for number, example in enumerate(prompt_set.examples, start=1):
        asked.setdefault(asked_for(example), []).append(number)
    warnings = []
    for numbers in (found for found in asked.values() if len(found) > 1):
        answers = {_said(prompt_set.examples[number - 1]) for number in numbers}
        which = f"Examples {', '.join(map(str, numbers))} ask the same"
        if len(answers) > 1:
            warnings.append(f"{which}, and their answers differ: correct them, or remove all but one.")
        else:
            warnings.append(
                f"{which}: each takes room in every prompt and shows nothing new. Remove all but one."
            )
    return warnings


def _said(example: FewShotExample) -> str:
    """An answer as it is compared with another: of a choice its text, since the order may differ."""
    if example.choices and len(example.answer) == 1:
        place = ord(example.answer.lower()) - ord("a")
        if 0 <= place < len(example.choices):
            return folded(example.choices[place])
    return folded(example.answer)


def groups_without_examples(prompt_set: PromptSet, groups: Iterable[str | None]) -> list[str]:
    """Groups for which `for_group` would show nothing."""
    return sorted({group for group in groups if group is not None and not prompt_set.for_group(group)})


def _check(kind: Kind, number: int, example: FewShotExample, options: Mapping[str, Any]) -> list[RowError]:
    text = example.rationale
    errors = []
    if text != text.strip():
        fix = "Remove it: the prompt adds its own separator."
        errors.append(RowError(number, "rationale", "Begins or ends with white space.", fix))
    if HINT_MARK.casefold() in text.casefold():
        fix = "Remove the mark: the model would learn to write it."
        errors.append(RowError(number, "rationale", f'Contains the hint mark "{HINT_MARK}".', fix))
    elif _speaks_of_the_hint(kind, example):
        fix = "Argue from the question alone: what the model learns here the filter hint_markers drops."
        errors.append(RowError(number, "rationale", "Speaks of an answer that was given to it.", fix))
    if len(cut_at_first_stop(text, stops(kind))) < len(text):
        fix = "Remove what starts a new question; one few-shot example holds one question."
        errors.append(RowError(number, "rationale", "Is cut off at the start of a new question.", fix))
    task = task_of(kind)
    if task.required_option is not None and task.required_option not in options:
        return errors
    if task.runs_programs and not task.needs_sandbox:  # somebody else's machine is asked by workers alone
        return errors
    found = grade(task, example, text, options)
    if str(found.verdict) != "correct":
        read = (
            "no answer can be read from it" if found.extracted is None else f"it answers {found.extracted!r}"
        )
        reason = f"Does not lead to its own answer {example.answer!r}: {read} ({found.verdict})."
        errors.append(RowError(number, "rationale", reason, f"{task.how_to_end}, or correct the answer."))
    return errors


def _speaks_of_the_hint(kind: Kind, example: FewShotExample) -> bool:
    shown = FilterInput(
        question=example.question,
        answer=example.answer,
        choices=example.choices,
        kind=kind,
        route="rationalized",
        completion=example.rationale,
    )
    return hint_markers(shown) is not None


def _parsed(data: str) -> Mapping[str, Any]:
    try:
        parsed: Mapping[str, Any] = json.loads(
            data, parse_float=str
        )  # starts with "{": an object or an error
    except (json.JSONDecodeError, RecursionError) as problem:
        raise _refused(
            "file", f"Not JSON: {problem}.", 'Write {"kind": ..., "examples": [...]}.'
        ) from problem
    return parsed


def _refused(field: str, reason: str, fix: str) -> BadRows:
    return BadRows([RowError(0, field, reason, fix)])


def _from_json(data: Mapping[str, Any], kind: Kind | None) -> PromptSet:
    named = data.get("kind", kind)
    if named not in TASKS:
        raise _refused("kind", f"{named!r} is no kind.", f"Use one of {', '.join(TASKS)}.")
    if kind is not None and named != kind:
        raise _refused("kind", f"The prompt set is of kind {named}, not {kind}.", "Use one kind for both.")
    rows = data.get("examples", [data] if "messages" in data else None)
    if not isinstance(rows, list | tuple):
        raise _refused("examples", "Not a list.", 'Write "examples": [{...}, ...].')
    examples: list[FewShotExample] = []
    errors: list[RowError] = []
    for number, row in enumerate(rows, start=1):
        try:
            examples += _entry_from_json(row, Kind(named), number)
        except BadRows as bad:
            errors.extend(bad.errors)
    if errors:
        raise BadRows(errors)
    return PromptSet(Kind(named), tuple(examples))


def _entry_from_json(row: Any, kind: Kind, number: int) -> list[FewShotExample]:
    """One example, or those of a conversation."""
    if not isinstance(row, Mapping):
        raise BadRows(
            [RowError(number, "row", "Not an object.", 'Write {"question": ..., "rationale": ...}.')]
        )
    alone = {name: value for name, value in row.items() if name not in ("kind", "name")}
    rows = native_few_shot(alone, task_of(kind), number)
    return [_one_from_json(one, kind, number) for one in rows]


def _one_from_json(row: Mapping[str, Any], kind: Kind, number: int) -> FewShotExample:
    rationale = row.get("rationale")
    errors = []
    if not isinstance(rationale, str) or not rationale.strip():
        fix = "Write the reasoning with the answer at its end."
        errors.append(RowError(number, "rationale", "Missing, empty or not a text.", fix))
    rest = {field: value for field, value in row.items() if field not in ("rationale", "id", "split")}
    try:
        example = read_example(rest, kind, line=number)
    except BadRows as bad:
        raise BadRows([*errors, *bad.errors]) from bad
    if errors:
        raise BadRows(errors)
    return _with_rationale(example, str(rationale).rstrip())  # YAML ends a block with a line break


def _with_rationale(example: Example, rationale: str) -> FewShotExample:
    return FewShotExample(example.question, rationale, example.answer, example.choices, example.group)


def _from_text(data: str, kind: Kind | None) -> PromptSet:
    text = data.replace("\r\n", "\n").strip()
    if kind is not None and task_of(kind).required_option is not None:
        fix = 'Give {"question", "rationale", "answer"} objects.'
        raise _refused("text", f"Which part of a text is the answer only the job's {kind} can tell.", fix)
    seen = _task_of_text(text, kind)
    if kind is not None and seen.kind != kind:
        fix = f"Write {task_of(kind).how_to_write}."
        raise _refused("kind", f"The text is laid out as {seen.kind}, not {kind}.", fix)
    examples: list[FewShotExample] = []
    errors: list[RowError] = []
    for number, block in enumerate(re.split(_block_start(), text), start=1):
        try:
            examples.append(_one_from_text(block, seen, number))
        except BadRows as bad:
            errors.extend(bad.errors)
    if errors:
        raise BadRows(errors)
    return PromptSet(Kind(seen.kind), tuple(examples))


def _block_start() -> str:
    """The blank line before a block of any layout."""
    heads = sorted({re.escape(task.layout.start) for task in TASKS.values()})
    return rf"\n\s*\n(?={'|'.join(heads)})"


def _task_of_text(text: str, said: Kind | None) -> Task:
    """The task whose layout a text shows; of several that share it the one that is said, else the first."""
    signed = [task for task in TASKS.values() if task.layout.sign is not None]
    shown = next((task for task in signed if task.layout.sign and task.layout.sign.search(text)), None)
    sharing = [task for task in TASKS.values() if task.layout.sign is None] if shown is None else [shown]
    return next((task for task in sharing if task.kind == said), sharing[0])


def _one_from_text(block: str, task: Task, number: int) -> FewShotExample:
    match = task.layout.block.fullmatch(block)
    if match is None:
        fix = f"Write {task.how_to_write}."
        raise BadRows([RowError(number, "example", "Not laid out as expected.", fix)])
    parts = {name: part or "" for name, part in match.groupdict().items()}
    if parts.get("hint", "").strip() or HINT_MARK in parts.get("choices", ""):
        fix = "Give the examples without hints; the service adds them where they belong."
        raise BadRows([RowError(number, "example", "Shows the hint.", fix)])
    rationale = parts["rationale"].strip()
    row: dict[str, Any] = {"question": parts["question"]}
    if task.takes_choices:
        row["choices"] = _labelled(parts["choices"], number)
    asked = Example("", row["question"], "", tuple(row.get("choices", ())) or None)
    found = grade(task, task.any_gold(asked), rationale)  # only what is extracted is read
    if found.extracted is None:
        reason = f"No answer can be read from the rationale ({found.verdict})."
        raise BadRows([RowError(number, "rationale", reason, f"{task.how_to_end}.")])
    example = read_example({**row, "answer": found.extracted}, Kind(task.kind), line=number)
    return _with_rationale(example, rationale)


def _labelled(block: str, number: int) -> list[str]:
    lines = block.rstrip("\n").split("\n")
    expected = [f"({choice_letter(position)}) " for position in range(len(lines))]
    if [line[:4] for line in lines] != expected:
        fix = "Label them (a), (b), (c)... without gaps."
        raise BadRows([RowError(number, "choices", "Labels out of order.", fix)])
    return [line[4:] for line in lines]
