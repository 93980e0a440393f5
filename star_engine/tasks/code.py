"""Programs that must pass tests: MBPP, HumanEval, APPS and rows like theirs. Judged in a sandbox.

The gold answer is the tests, as one line of JSON (`Gold`); the answer that a text gives is its last fenced
block of Python. What a text answers is executed by the runner that the process has installed
(`tasks/programs/execution.py`), and only there; without one, SandboxFailed is raised, which is no verdict.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from star_engine.section import Section
from star_engine.tasks.examples import Asked, Example
from star_engine.tasks.hints import HintForm
from star_engine.tasks.layout import QUESTION_AND_ANSWER
from star_engine.tasks.programs.execution import Execution, Limits, Program, SandboxFailed, Status, execute
from star_engine.tasks.programs.published import native_code_row
from star_engine.tasks.reading.final_part import final_part
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

GOLD_RUNS = 3  # of a worked solution at upload: a test that passes now and then teaches nothing
MAX_RUNS = 50  # standard inputs of one example
DEFAULT_SECONDS, MAX_SECONDS = 5.0, 60.0
_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*$", re.MULTILINE)
_PYTHON = ("", "python", "py", "python3")
_BARE_CODE = re.compile(
    r"^[ \t]*(?:def \w|class \w|import \w|from \w+ import|for \w+ in|while |print\(|return\b|\w+ = )",
    re.MULTILINE,
)
_FIX = '; give tests as ["assert f(1) == 2", ...] or [{"stdin": "1 2", "stdout": "3"}, ...]'


@dataclass(frozen=True, slots=True)
class Gold:
    """What a program must do. Tests are statements; cases are standard inputs with the output wanted."""

    tests: tuple[str, ...] = ()
    cases: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()  # functions that the program is asked for, called like a builtin or not
    prefix: str = ""  # code that the program continues: the signature of HumanEval, with its imports
    any: bool = False  # whatever the program answers is right

    def as_text(self) -> str:
        known = {
            "tests": list(self.tests),
            "cases": [{"stdin": given, "stdout": wanted} for given, wanted in self.cases],
            "names": list(self.names),
            "prefix": self.prefix,
            "any": self.any,
        }
        return json.dumps({name: value for name, value in known.items() if value})

    def said(self) -> str:
        """For a person, or a model that is given a hint."""
        lines = list(self.tests)
        for given, wanted in self.cases:
            lines.append(f"input:\n{given.rstrip()}\noutput:\n{wanted.rstrip()}")
        return "\n".join(lines)


def gold_of(answer: str) -> Gold:
    """The tests of an answer: `Gold.as_text`, or plain assert statements. BadGold where there are none."""
    text = answer.strip()
    if not text.startswith("{"):
        return Gold(tests=statements(text))
    try:
        known = json.loads(text)
        gold = Gold(
            tests=tuple(map(str, known.get("tests", ()))),
            cases=tuple((str(one["stdin"]), str(one["stdout"])) for one in known.get("cases", ())),
            names=tuple(map(str, known.get("names", ()))),
            prefix=str(known.get("prefix", "")),
            any=bool(known.get("any", False)),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise BadGold(f"holds no tests that can be read ({type(problem).__name__}){_FIX}") from None
    if not gold.tests and not gold.cases and not gold.any:
        raise BadGold(f"holds no tests{_FIX}")
    if len(gold.cases) > MAX_RUNS:
        raise BadGold(f"holds {len(gold.cases)} cases, more than {MAX_RUNS}; leave some out")
    return gold


def statements(source: str) -> tuple[str, ...]:
    """Python source as its top-level statements, each of which passes or not. BadGold for other text."""
    try:
        parsed = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        raise BadGold(f"is no Python ({type(problem).__name__}: {problem}){_FIX}") from None
    if not parsed.body:
        raise BadGold(f"is empty{_FIX}")
    if not any(isinstance(node, ast.Assert) for node in ast.walk(parsed)):
        return (source,)
    return tuple(ast.get_source_segment(source, node) or ast.unparse(node) for node in parsed.body)


def find_code(text: str) -> tuple[int, int] | None:
    """Where the program stands: the last closed block of Python in the final part; without any, bare code."""
    final = final_part(text)
    if final is None:
        return None
    begin, end = final
    if found := list(blocks(text, begin, end)):
        start, stop = found[-1]
        return (start, start + len(text[start:stop].rstrip())) if text[start:stop].strip() else None
    part = text[begin:end]
    if _FENCE.search(part) or not _BARE_CODE.search(part):
        return None
    stop = begin + len(part.rstrip())
    return stop - len(part.rstrip().lstrip("\n")), stop


def blocks(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the closed fenced blocks of Python stand, in time in proportion to the text."""
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text, begin, end):
        if opened is None or fence[1]:
            opened = fence
            continue
        if opened[1].lower() in _PYTHON:
            yield min(opened.end() + 1, fence.start()), fence.start()
        opened = None


def program_for(gold: Gold, code: str, options: TaskOptions) -> Program:
    """What is executed to judge code. The prefix stands before it, and defines what the tests need too."""
    seconds = float(options.get("code_timeout_s") or DEFAULT_SECONDS)
    memory = int(options.get("code_memory_mb") or Limits().memory_mb)
    limits = Limits(cpu_s=seconds, wall_s=6 * seconds, memory_mb=memory)
    stub = f"{gold.prefix.rstrip()}\n    pass\n" if gold.prefix else ""
    if gold.prefix:
        starts = "|".join(map(re.escape, gold.names))
        whole = re.search(rf"^(?:async )?def (?:{starts})\b", code, re.MULTILINE) is not None
        code = f"{stub}\n{code}" if whole else f"{gold.prefix.rstrip()}\n{code}"
    if gold.cases:
        return Program(code, stdins=tuple(given for given, _ in gold.cases), limits=limits)
    tests = gold.tests or ("pass",)
    return Program(code, tests=tests, prelude=stub, names=gold.names, limits=limits)


def judge_code(gold: Gold, execution: Execution) -> tuple[VerdictCode, str, str | None]:
    """Verdict, rule and canonical form: a digest of all outputs, equal for programs that answer alike."""
    if execution.status is Status.REFUSED:
        raise SandboxFailed(execution.error or "the sandbox refuses programs with tests")
    if gold.cases:
        return _judge_outputs(gold, execution)
    if execution.status is not Status.OK:
        return VerdictCode.WRONG, str(execution.status), None
    right = gold.any or (bool(execution.passed) and all(execution.passed))
    code = VerdictCode.CORRECT if right else VerdictCode.WRONG
    return code, "tests", execution.outputs_sha256


def _judge_outputs(gold: Gold, execution: Execution) -> tuple[VerdictCode, str, str | None]:
    if len(execution.runs) != len(gold.cases):  # stopped as a whole: too slow, or too large
        return VerdictCode.WRONG, str(execution.status), None
    said = [_lines(run.stdout) for run in execution.runs]
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    if execution.status is not Status.OK:
        return VerdictCode.WRONG, str(execution.status), None
    right = gold.any or said == [_lines(wanted) for _, wanted in gold.cases]
    return (VerdictCode.CORRECT if right else VerdictCode.WRONG), "outputs", digest


def _lines(output: str) -> list[str]:
    """Output as it is compared: white space at the ends of lines and of the whole aside."""
    return [line.rstrip() for line in output.strip().splitlines()]


class CodeOptions(Section):
    code_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=MAX_SECONDS,
        description=f"CPU seconds a program may take for its tests, or for each input; {DEFAULT_SECONDS:g}.",
    )
    code_memory_mb: int | None = Field(
        default=None,
        ge=32,
        le=4096,
        description=f"Megabytes of memory that a program may take; {Limits().memory_mb}.",
    )


class Code:
    """A program that passes the tests of its question."""

    kind = "code"
    options: type[Section] = CodeOptions
    required_option: str | None = None
    layout = QUESTION_AND_ANSWER
    hint_forms: tuple[HintForm, ...] = (HintForm.FULL_SOLUTION,)
    takes_choices = False
    solution_mark: str | None = None
    slow_gold = True
    closed_answers = True
    runs_programs = True
    needs_sandbox = True
    answer_shapes: tuple[str, ...] | None = None
    how_to_write = 'a JSON object {"question", "rationale", "tests"}'
    how_to_end = "End it with the program in a fenced block: ```python"

    def native(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return native_code_row(row)

    def ask(self, example: Asked, *, hinted: bool) -> str:
        hint = f"\n{self.hint(example)}" if hinted else ""
        return f"Q: {example.question}{hint}\nA:"

    def hint(self, example: Asked) -> str:
        tests = gold_of(example.answer).said() if example.answer else ""  # none where a prompt is measured
        return f"(It must pass:\n{tests})"

    def direct_answer(self, example: Asked) -> str:
        solution = example.solution if isinstance(example, Example) else find_solution(example.rationale)
        return f"```python\n{solution or ''}\n```"

    def gold_text(self, example: Asked) -> str:
        return gold_of(example.answer).said()

    def read_gold(self, example: Example) -> Example:
        gold = gold_of(example.answer)
        tests = tuple(test for one in gold.tests for test in statements(one))
        return replace(example, answer=replace(gold, tests=tests).as_text())

    def check_gold(self, example: Asked, options: TaskOptions) -> None:
        """Run the worked solution, where there is one: it must pass, and each time alike."""
        gold = gold_of(example.answer)
        solution = example.solution if isinstance(example, Example) else None
        if solution is None:
            return
        code = find_solution(solution)
        try:
            found = execute([program_for(gold, code, options)] * GOLD_RUNS)
        except SandboxFailed as failure:
            raise BadGold(
                f"cannot be checked, because no program is executed here ({failure}); ask the people who run "
                "the platform for a sandbox, or upload without solutions"
            ) from None
        judged = [judge_code(gold, one) for one in found]
        if len({(code_, digest) for code_, _, digest in judged}) > 1:
            raise BadGold("is flaky: the solution does not answer it alike each time; remove what is random")
        if judged[0][0] is not VerdictCode.CORRECT:
            why = found[0].error or next((run.stderr[-300:] for run in found[0].runs if run.stderr), "")
            raise BadGold(
                f"is not passed by its own solution ({judged[0][1]}: {' '.join(why.split())[-300:]})"
                "; correct the solution or the tests"
            )

    def canonical_gold(self, example: Asked) -> str:
        return hashlib.sha256(gold_of(example.answer).as_text().encode()).hexdigest()

    def any_gold(self, example: Example) -> Example:
        gold = gold_of(example.answer) if example.answer else Gold()
        return replace(example, answer=replace(gold, any=True).as_text())

    def other_gold(self, example: Example) -> Example:
        return replace(example, answer=Gold(tests=("assert 'this' == 'other'",)).as_text())

    def guess_chance(self, example: Asked) -> float | None:
        return 0.0

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        gold, span = gold_of(example.answer), find_code(text)
        if span is None:
            return no_answer(VerdictCode.UNPARSED, "no_code")
        [execution] = execute([program_for(gold, text[slice(*span)], options)])
        code, rule, canonical = judge_code(gold, execution)
        return Verdict(code, text[slice(*span)], canonical, rule, span)

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        return self.grade(example, text, options)

    def is_answer(self, example: Asked, text: str) -> bool:
        return False

    def asserted_at(self, example: Asked, text: str) -> int | None:
        return None

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return None


def find_solution(text: str) -> str:
    """The program of a worked solution: its last fenced block, or all of it."""
    found = list(blocks(text, 0, len(text)))
    return text[slice(*found[-1])] if found else text
