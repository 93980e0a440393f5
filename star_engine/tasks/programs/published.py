"""Rows of published data sets of programs, as they are published, in the fields that this project has.

| data set     | recognised by                          | becomes                                           |
| ------------ | -------------------------------------- | ------------------------------------------------- |
| MBPP         | `test_list`, with `text` or `prompt`   | asserts; the question shows the first             |
| HumanEval(+) | `prompt`, `test`, `entry_point`        | a call of `check`; the prompt is code to continue |
| APPS, TACO   | `input_output`: `inputs` and `outputs` | standard input and output, or calls of `fn_name`  |
| own rows     | `tests`                                | asserts, {stdin, stdout} or {args, expected}      |
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from star_engine.tasks.verdict import BadGold

MAX_CASES = 50  # APPS has rows with hundreds; the first ones tell nearly as much, and cost less
_KEPT = ("id", "group", "split", "solution", "rationale")
_HOW = (
    '; write "tests": ["assert f(1) == 2"], [{"stdin": "1", "stdout": "2"}] or [{"args": [1], "expected": 2}]'
)


def native_code_row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row as {question, answer, solution, ...}. Raises BadGold, with the fix, for other shapes."""
    if "test_list" in row:
        return _mbpp(row)
    if "test" in row and "entry_point" in row:
        return _human_eval(row)
    if "input_output" in row:
        return _apps(row)
    if "tests" in row:
        names = row.get("entry_point")
        return _with(row, row.get("question"), _gold(row["tests"], names), row.get("solution"))
    return row


def _with(row: Mapping[str, Any], question: Any, gold: Mapping[str, Any], solution: Any) -> Mapping[str, Any]:
    native = {name: row[name] for name in _KEPT if row.get(name) is not None}
    native |= {"question": question, "answer": json.dumps({k: v for k, v in gold.items() if v})}
    return native | ({"solution": solution} if solution else {})


def _mbpp(row: Mapping[str, Any]) -> Mapping[str, Any]:
    tests = _texts(row["test_list"], "test_list")
    setup = row.get("test_setup_code") or "\n".join(_texts(row.get("test_imports") or [], "test_imports"))
    asked = str(row.get("text") or row.get("prompt") or row.get("question") or "")
    solution = row.get("code")
    gold = {"tests": [*([setup] if setup else []), *tests], "names": _builtin_names(solution)}
    question = f"{asked.strip()}\nFor example: {tests[0].strip()}" if tests and asked else asked
    named = {"id": f"mbpp-{row['task_id']}"} if "task_id" in row else {}
    return _with({**named, **row}, question, gold, solution)


def _human_eval(row: Mapping[str, Any]) -> Mapping[str, Any]:
    prompt, name = str(row["prompt"]), str(row["entry_point"])
    gold = {"tests": [f"{row['test']}\ncheck({name})"], "names": [name], "prefix": prompt}
    solution = row.get("canonical_solution")
    named = {"id": str(row["task_id"])} if "task_id" in row else {}
    question = f"Complete this function.\n```python\n{prompt.strip()}\n```"
    return _with({**named, **row}, question, gold, f"{prompt.rstrip()}\n{solution}" if solution else None)


def _apps(row: Mapping[str, Any]) -> Mapping[str, Any]:
    known = _parsed(row["input_output"])
    if not isinstance(known, Mapping):
        raise BadGold(f"has an input_output that is no object{_HOW}")
    given, wanted = list(known.get("inputs", ()))[:MAX_CASES], list(known.get("outputs", ()))[:MAX_CASES]
    if not given or len(given) != len(wanted):
        raise BadGold(f"has {len(given)} inputs and {len(wanted)} outputs in input_output{_HOW}")
    name = known.get("fn_name")
    if name:
        tests = [{"args": a, "expected": b} for a, b in zip(given, wanted, strict=True)]
    else:
        tests = [{"stdin": _joined(a), "stdout": _joined(b)} for a, b in zip(given, wanted, strict=True)]
    solutions = _parsed(row.get("solutions") or "[]")
    solution = solutions[0] if isinstance(solutions, list) and solutions else row.get("solution")
    named = {"id": str(row.get("problem_id", row.get("id")))} if "problem_id" in row or "id" in row else {}
    return _with({**row, **named}, row.get("question"), _gold(tests, name), solution)


def _gold(tests: Any, names: Any) -> dict[str, Any]:
    """Tests of one shape, as the fields of `code.Gold`."""
    named = [names] if isinstance(names, str) else list(names or ())
    if isinstance(tests, str):
        tests = [tests]
    if not isinstance(tests, Sequence) or not tests:
        raise BadGold(f"has no tests{_HOW}")
    if all(isinstance(one, str) for one in tests):
        return {"tests": list(tests), "names": named}
    if not all(isinstance(one, Mapping) for one in tests):
        raise BadGold(f"mixes tests of several shapes{_HOW}")
    if all("stdin" in one or "input" in one for one in tests):
        return {"cases": list(map(_case, tests))}
    if all("args" in one and "expected" in one for one in tests):
        if not named:
            raise BadGold('has args, but no "entry_point"; name the function that they are given to')
        calls = [f"assert same({named[0]}({_arguments(one['args'])}), {one['expected']!r})" for one in tests]
        return {"tests": calls, "names": named}
    raise BadGold(f"has tests of an unknown shape{_HOW}")


def _case(one: Mapping[str, Any]) -> dict[str, str]:
    given, wanted = one.get("stdin", one.get("input")), one.get("stdout", one.get("output"))
    return {"stdin": _joined(given), "stdout": _joined(wanted)}


def _arguments(args: Any) -> str:
    if isinstance(args, Mapping):
        return ", ".join(f"{name}={value!r}" for name, value in args.items())
    return ", ".join(map(repr, args)) if isinstance(args, list | tuple) else repr(args)


def _joined(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    return "" if value is None else str(value)


def _parsed(value: Any) -> Any:
    """A value that some files hold as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise BadGold(f"has a column that is no JSON{_HOW}") from None


def _texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise BadGold(f"has a {name} that is no list of texts{_HOW}")
    return list(value)


def _builtin_names(solution: Any) -> list[str]:
    """Functions that a solution defines: tests may mean them although they are called like a builtin."""
    try:
        parsed = ast.parse(solution) if isinstance(solution, str) else ast.parse("")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [node.name for node in parsed.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
