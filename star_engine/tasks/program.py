"""Answers that the user's own checker judges: `def grade(example, answer) -> bool | float` in the sandbox
(kind `program`), or a grader over HTTPS (kind `remote`), for checkers that no sandbox has, such as provers.

The program is the job's, the answer a model's: both run where nothing can be reached, and the answer is data
there. A program that fails says nothing of an answer, so the verdict is `error`, and nothing is trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import Field, field_validator

from star_engine.section import Section
from star_engine.tasks.exact import Exact
from star_engine.tasks.examples import Asked, Example, as_turns
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.layout import QUESTION_AND_ANSWER, answer_in_parentheses, ask_question
from star_engine.tasks.programs.execution import Execution, Limits, Program, Status, execute
from star_engine.tasks.reading.final_part import final_part
from star_engine.tasks.reading.final_text import read_final_text
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

FUNCTION = "grade"
MAX_PROGRAM = 50_000  # characters
RIGHT = 0.5  # a number from here on is right
Span = tuple[int, int]


def stated_answer(text: str) -> Span | None:
    """Where a text says its answer: the last fenced block, else behind the last anchor, else all of its end.

    The end is what follows the thinking; None where the thinking was never closed, or nothing follows it.
    """
    final = final_part(text)
    if final is None:
        return None
    if "```" in text[slice(*final)]:
        return find_block(text, final)
    read = read_final_text(text)
    if read is not None and read.statements:
        last = read.statements[-1]
        start, stop = read.plain.original(last.begin, last.end)
        return _bare(text, start, stop)
    return _bare(text, *final)


def find_block(text: str, within: Span) -> Span | None:
    """The last closed fenced block, of whatever language."""
    begin, end = within
    lines, at = [], begin
    for line in text[begin:end].splitlines(keepends=True):
        lines.append((at, line))
        at += len(line)
    fences = [(at, line) for at, line in lines if line.lstrip().startswith("```")]
    if len(fences) < 2 or len(fences) % 2:
        return None
    (opened, line), (closed, _) = fences[-2:]
    return _bare(text, opened + len(line), closed)


def _bare(text: str, start: int, stop: int) -> Span | None:
    stop = start + len(text[start:stop].rstrip())
    start = stop - len(text[start:stop].lstrip())
    return (start, stop) if start < stop else None


def as_json(example: Asked, text: str) -> dict[str, Any]:
    """What a grader is told of a question: no more than the row of the dataset, and the whole final text."""
    solution, context = (example.solution, example.context) if isinstance(example, Example) else (None, ())
    known = {
        "context": as_turns(context) or None,
        "question": example.question,
        "answer": example.answer,
        "choices": None if example.choices is None else list(example.choices),
        "group": example.group,
        "solution": solution,
        "text": text,
    }
    return {name: value for name, value in known.items() if value is not None}


def judged_by_value(value: Any) -> VerdictCode:
    """What a grader's bool or number says; ERROR where it is neither."""
    if isinstance(value, bool):
        return VerdictCode.CORRECT if value else VerdictCode.WRONG
    if isinstance(value, int | float) and value == value:
        return VerdictCode.CORRECT if value >= RIGHT else VerdictCode.WRONG
    return VerdictCode.ERROR


class ProgramOptions(Section):
    program: str | None = Field(
        default=None,
        max_length=MAX_PROGRAM,
        description=(
            "Python with a function grade(example, answer) that gives a bool, or a number that is right from "
            "0.5 on; run in the sandbox, standard library only."
        ),
    )
    program_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=60,
        description=f"CPU seconds that it may take for one answer; {Limits().cpu_s:g}.",
    )

    @field_validator("program")
    @classmethod
    def _has_the_function(cls, program: str | None) -> str | None:
        if program is not None and f"def {FUNCTION}(" not in program:
            raise ValueError(
                f"the program has no function {FUNCTION}; write def {FUNCTION}(example, answer): return ..."
            )
        return program


Request = Callable[[dict[str, Any], str, TaskOptions], Program]  # what is executed to judge an answer


class Judged:
    """An answer that the job's own checker judges: its program here, or a grader."""

    required_option: str | None
    layout = QUESTION_AND_ANSWER
    hint_forms: tuple[HintForm, ...] = ANY_KIND
    takes_choices = False
    solution_mark: str | None = "####"
    slow_gold = False
    closed_answers = True
    runs_programs = True
    answer_shapes: tuple[str, ...] | None = None
    how_to_write = 'a JSON object {"question", "rationale", "answer"}'
    how_to_end = 'End it with "#### answer", or with a fenced block that is the answer'

    def __init__(
        self, kind: str, options: type[Section], required_option: str, request: Request, *, sandboxed: bool
    ) -> None:
        self.kind, self.options, self.required_option = kind, options, required_option
        self.needs_sandbox = sandboxed
        self._request = request

    def native(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return row

    def ask(self, example: Asked, *, hinted: bool) -> str:
        return ask_question(example, hinted=hinted)

    def hint(self, example: Asked) -> str:
        return answer_in_parentheses(example)

    def direct_answer(self, example: Asked) -> str:
        return example.answer

    def gold_text(self, example: Asked) -> str:
        return example.answer

    def read_gold(self, example: Example) -> Example:
        return example

    def check_gold(self, example: Asked, options: TaskOptions) -> None:
        """Only its author knows what a program calls right: the few-shot rationales are what is tried."""
        if not example.answer.strip():
            raise BadGold("is empty; give what the program needs to judge an answer")

    def canonical_gold(self, example: Asked) -> str:
        return " ".join(example.answer.split())

    def any_gold(self, example: Example) -> Example:
        return replace(example, answer="0")

    def other_gold(self, example: Example) -> Example:
        return replace(example, answer=f"other than {example.answer}")

    def guess_chance(self, example: Asked) -> float | None:
        return None

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        span = stated_answer(text)
        if span is None:
            return no_answer(VerdictCode.UNPARSED, "nothing_stated")
        answer = text[slice(*span)]
        begin, end = final_part(text) or (0, len(text))
        [found] = execute([self._request(as_json(example, text[begin:end]), answer, options)])
        code, rule = _verdict(found, self.kind)
        if code is VerdictCode.ERROR:
            return no_answer(code, rule)
        return Verdict(code, answer, " ".join(answer.split()), rule, span)

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return self.grade(example, text, options)

    def is_answer(self, example: Asked, text: str) -> bool:
        return Exact().is_answer(example, text)

    def asserted_at(self, example: Asked, text: str) -> int | None:
        return None

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return None


def program_for(example: dict[str, Any], answer: str, options: TaskOptions) -> Program:
    """What is executed to judge an answer. ValueError without the option `program`."""
    code = options.get("program")
    if not code:
        raise ValueError("the kind program needs the option program, Python with grade(example, answer)")
    seconds = float(options.get("program_timeout_s") or Limits().cpu_s)
    limits = Limits(cpu_s=seconds, wall_s=6 * seconds)
    return Program(str(code), call=(FUNCTION, (example, answer)), limits=limits)


def _verdict(found: Execution, kind: str) -> tuple[VerdictCode, str]:
    if found.status is not Status.OK:
        return VerdictCode.ERROR, f"{kind}_{found.status}"
    code = judged_by_value(found.value)
    return code, kind if code is not VerdictCode.ERROR else f"{kind}_gave_no_number"


PROGRAM = Judged("program", ProgramOptions, "program", program_for, sandboxed=True)


# The engine asks no grader: what does is installed as the process's runner (app/grader.py); without one
# SandboxFailed is raised, which is no verdict. What a grader said is recorded and replayed as executions are.
GRADER_SECONDS = 10.0


class RemoteOptions(Section):
    grader_url: str | None = Field(
        default=None,
        max_length=2000,
        pattern=r"^https?://",
        description=(
            "Address of a grader: it is sent {example, answer} as signed JSON, and gives "
            '{"value": true, false or a number that is right from 0.5 on}.'
        ),
    )
    grader_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=60,
        description=f"Seconds that it may take for one answer; {GRADER_SECONDS:g}.",
    )


def question_for(example: dict[str, Any], answer: str, options: TaskOptions) -> Program:
    """What is asked to judge an answer. ValueError without the option `grader_url`."""
    url = options.get("grader_url")
    if not url:
        raise ValueError("the kind remote needs the option grader_url, the address of a grader")
    seconds = float(options.get("grader_timeout_s") or GRADER_SECONDS)
    return Program("", call=(FUNCTION, (example, answer)), url=str(url), limits=Limits(wall_s=seconds))


REMOTE = Judged("remote", RemoteOptions, "grader_url", question_for, sandboxed=False)
