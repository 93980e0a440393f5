from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from star_engine.config.star import StarConfig
from star_engine.data.prompts import render_prompt
from star_engine.data.readers import read_example
from star_engine.data.row_errors import BadRows
from star_engine.data.validation import Unfit, check_data
from star_engine.protocols import Completion
from star_engine.sampling.answers import judge
from star_engine.tasks.code import blocks, find_code, gold_of
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.programs.execution import SandboxFailed, using_runner
from star_engine.tasks.verify import verify
from worker.sandbox.local import LocalRunner

MBPP = {
    "task_id": 2,
    "text": "Write a function to find the similar elements from the given two tuple lists.",
    "code": "def similar_elements(test_tup1, test_tup2):\n  res = tuple(set(test_tup1) & set(test_tup2))\n"
    "  return tuple(sorted(res)) ",
    "test_list": [
        "assert similar_elements((3, 4, 5, 6),(5, 7, 4, 10)) == (4, 5)",
        "assert similar_elements((1, 2, 3, 4),(5, 4, 3, 7)) == (3, 4)",
    ],
    "test_setup_code": "",
    "challenge_test_list": [],
}
MBPP_BUILTIN = {
    "task_id": 126,
    "text": "Write a python function to find the sum of common divisors of two given numbers.",
    "code": "def sum(a,b): \n    sum = 0\n    for i in range (1,min(a,b)): \n        if (a % i == b % i == 0): \n"
    "            sum += i \n    return sum",
    "test_list": ["assert sum(10,15) == 6", "assert sum(100,150) == 93"],
}
HUMAN_EVAL = {
    "task_id": "HumanEval/32",
    "prompt": "import math\n\n\ndef poly(xs: list, x: float):\n    return sum([coeff * math.pow(x, i) for i, coeff in "
    'enumerate(xs)])\n\n\ndef find_zero(xs: list):\n    """ a zero of poly\n    >>> round(find_zero([1, 2]), 2)\n'
    '    -0.5\n    """\n',
    "entry_point": "find_zero",
    "canonical_solution": "    begin, end = -1., 1.\n    while poly(xs, begin) * poly(xs, end) > 0:\n        begin *= 2.0\n"
    "        end *= 2.0\n    while end - begin > 1e-10:\n        center = (begin + end) / 2.0\n"
    "        if poly(xs, center) * poly(xs, begin) > 0:\n            begin = center\n        else:\n"
    "            end = center\n    return begin\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    for coeffs in ([1, 2], [-6, 11, -6, 1]):\n"
    "        assert abs(poly(coeffs, candidate(coeffs))) < 1e-4\n",
}
APPS = {
    "problem_id": 7,
    "question": "Add the numbers of each line.",
    "input_output": json.dumps({"inputs": ["1 2\n3 4\n", "5 5\n"], "outputs": ["3\n7\n", "10\n"]}),
    "solutions": json.dumps(["import sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())))"]),
}
APPS_CALLS = {
    "problem_id": 8,
    "question": "Return the two numbers, doubled.",
    "input_output": {"fn_name": "twice", "inputs": [[1, 2], [3, 4]], "outputs": [[2, 4], [6, 8]]},
    "solutions": ["def twice(a, b):\n    return (2 * a, 2 * b)"],
}
OWN = {
    "question": "Double it.",
    "tests": ["assert f(1) == 2", "assert f(-3) == -6"],
    "solution": "def f(x):\n    return 2 * x",
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "mbpp": MBPP,
    "mbpp_named_like_a_builtin": MBPP_BUILTIN,
    "human_eval": HUMAN_EVAL,
    "apps": APPS,
    "apps_calls": APPS_CALLS,
    "own": OWN,
}


@pytest.fixture(scope="module", autouse=True)
def _sandbox() -> Iterator[None]:
    with closing(LocalRunner(2)) as runner, using_runner(runner):
        yield


def example(row: dict[str, Any]) -> Example:
    return read_example(row, Kind("code"))


def fenced(code: str) -> str:
    return f"It is done so.\n```python\n{code}\n```\nThat is all."


@pytest.mark.parametrize("row", PUBLISHED.values(), ids=PUBLISHED)
def test_a_published_row_is_read_and_its_solution_passes(row: dict[str, Any]) -> None:
    found = example(row)
    assert found.solution is not None
    verdict = verify("code", fenced(found.solution), found.answer)
    assert (verdict.verdict, verdict.canonical is None) == ("correct", False)


@pytest.mark.parametrize("row", PUBLISHED.values(), ids=PUBLISHED)
def test_a_program_that_answers_nothing_is_wrong(row: dict[str, Any]) -> None:
    names = "similar_elements", "sum", "find_zero", "twice", "f"
    code = "\n".join(f"def {name}(*args):\n    return None" for name in names)
    assert verify("code", fenced(code), example(row).answer).verdict == "wrong"


def test_a_helper_of_the_prompt_cannot_be_replaced_by_the_program() -> None:
    code = "def poly(xs, x):\n    return 0\ndef find_zero(xs):\n    return 7.0"
    assert verify("code", fenced(code), example(HUMAN_EVAL).answer).verdict == "wrong"


def test_a_completion_that_goes_on_with_the_signature_is_read_as_code() -> None:
    assert verify("code", HUMAN_EVAL["canonical_solution"], example(HUMAN_EVAL).answer).is_correct


@pytest.mark.parametrize(
    ("text", "verdict", "rule"),
    [
        ("The answer is 4.", "unparsed", "no_code"),
        ("```python\ndef f(x):\n    return 2 * x", "unparsed", "no_code"),
        ("<think>\n```python\ndef f(x):\n    return 2 * x\n```", "unparsed", "no_code"),
        (fenced("def f(x):\n    while True: pass"), "wrong", "timeout"),
        (fenced("def f(x):\n    return bytearray(1 << 33)"), "wrong", "memory"),
        (fenced("def f(x):\n    return x"), "wrong", "tests"),
        (fenced("def f(x:"), "wrong", "error"),
        (fenced("import os\ndef f(x):\n    os._exit(0)"), "wrong", "error"),
        (
            fenced("def f(x):\n    return 3 * x") + "\n" + fenced("def f(x):\n    return x + x"),
            "correct",
            "tests",
        ),
        ("def f(x):\n    return 2 * x", "correct", "tests"),
        (fenced("def f(x):\n    return 2 * x") + "\n```output\n4\n```", "correct", "tests"),
    ],
)
def test_verdicts(text: str, verdict: str, rule: str) -> None:
    found = verify("code", text, example(OWN).answer, code_timeout_s=1)
    assert (found.verdict, found.rule) == (verdict, rule)


def test_the_extracted_answer_is_the_code_where_it_stands() -> None:
    text = fenced("def f(x):\n    return 2 * x")
    found = verify("code", text, example(OWN).answer)
    assert found.span is not None
    assert text[slice(*found.span)] == found.extracted == "def f(x):\n    return 2 * x"


def test_programs_that_answer_alike_have_the_same_canonical_form() -> None:
    answer = example(OWN).answer
    said = [verify("code", fenced(f"def f(x):\n    return {how}"), answer) for how in ("2 * x", "x + x", "x")]
    assert said[0].canonical == said[1].canonical != said[2].canonical


@pytest.mark.parametrize(
    ("change", "reason", "fix"),
    [
        (
            {"solution": "def f(x):\n    return x"},
            "is not passed by its own solution",
            "Correct the solution",
        ),
        (
            {"solution": "import random\ndef f(x):\n    return random.random()"},
            "is flaky",
            "Remove what is random",
        ),
        ({"solution": "def f(x):\n    while True: pass"}, "timeout", "Correct the solution"),
        ({"tests": ["assert f(1) =="]}, "is no Python", "Give tests as"),
        ({"tests": []}, "no tests", "Write"),
        ({"tests": [{"args": [1], "expected": 2}]}, 'no "entry_point"', "Name the function"),
        ({"tests": [{"what": 1}]}, "unknown shape", "Write"),
    ],
)
def test_a_row_that_cannot_be_judged_is_refused_with_its_fix(
    change: dict[str, Any], reason: str, fix: str
) -> None:
    with pytest.raises(BadRows) as refused:
        example({**OWN, **change})
    [error] = refused.value.errors
    assert reason in error.reason
    assert fix in error.fix


def test_without_a_sandbox_a_solution_is_refused_and_nothing_is_judged() -> None:
    answer = example(OWN).answer
    with using_runner(None):
        with pytest.raises(BadRows, match="no program is executed here"):
            example(OWN)
        with pytest.raises(SandboxFailed):
            judge(
                config(),
                replace(example({**OWN, "solution": None}), answer=answer),
                completion(fenced("f = abs")),
            )


def test_the_hint_shows_the_tests_and_a_plain_prompt_does_not() -> None:
    found, none = example(OWN), PromptSet(Kind("code"), ())
    assert "assert f(-3) == -6" in render_prompt(Kind("code"), none, found, hint=True, few_shot=False)
    assert "assert" not in render_prompt(Kind("code"), none, found, few_shot=False)


def test_majority_vote_is_refused() -> None:
    settings = config(
        labels="majority_vote",
        generation={"samples_per_example": 4, "temperature": 1},
        rationalization={"enabled": False},
    )
    with pytest.raises(Unfit, match="cannot be voted on"):
        check_data(settings, PromptSet(Kind("code"), ()), [example(OWN)], [])


def test_unclosed_fences_take_time_in_proportion_to_the_text() -> None:
    text = "```python\n" * 200_000
    assert list(blocks(text, 0, len(text))) == []
    assert find_code(text) is None


def test_a_gold_answer_survives_as_text() -> None:
    for row in PUBLISHED.values():
        gold = gold_of(example(row).answer)
        assert gold_of(gold.as_text()) == gold


def config(**settings: Any) -> StarConfig:
    return StarConfig.model_validate({"kind": "code", "iterations": 1, **settings})


def completion(text: str) -> Completion:
    return Completion("key", text, 0, 0, "stop")
