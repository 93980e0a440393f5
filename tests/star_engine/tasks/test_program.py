from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from pydantic import ValidationError

from star_engine.config.star import StarConfig
from star_engine.data.prompt_sets import check_prompt_set
from star_engine.tasks.examples import FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.program import stated_answer
from star_engine.tasks.programs.execution import SandboxFailed, using_runner
from star_engine.tasks.verify import verify
from worker.sandbox.local import LocalRunner

SAME_NUMBER = "def grade(example, answer):\n    return float(answer) == float(example['answer'])"
SCORE = "def grade(example, answer):\n    return len(set(answer) & set(example['answer'])) / len(set(example['answer']))"


@pytest.fixture(scope="module", autouse=True)
def _sandbox() -> Iterator[None]:
    with closing(LocalRunner(2)) as runner, using_runner(runner):
        yield


@pytest.mark.parametrize(
    ("program", "text", "answer", "verdict"),
    [
        (SAME_NUMBER, "It is 4.\n#### 4.0", "4", "correct"),
        (SAME_NUMBER, "It is 5.\n#### 5", "4", "wrong"),
        (SAME_NUMBER, "So:\n```\n4e0\n```\nThat is all.", "4", "correct"),
        (SAME_NUMBER, "<think>It is 4", "4", "unparsed"),
        (SCORE, "#### abcd", "abxy", "correct"),
        (SCORE, "#### a", "abxy", "wrong"),
        ("def grade(example, answer):\n    return 'yes'", "#### 4", "4", "error"),
        ("def grade(example, answer):\n    raise ValueError", "#### 4", "4", "error"),
        ("def grade(example, answer):\n    while True: pass", "#### 4", "4", "error"),
        ("import os\ndef grade(example, answer):\n    os._exit(0)", "#### 4", "4", "error"),
        ("def grade(example, answer):\n    return open('/etc/passwd').read() > ''", "#### 4", "4", "error"),
        (
            "def grade(example, answer):\n    return example['text'].startswith('Surely')",
            "Surely. #### 4",
            "4",
            "correct",
        ),
        ("def grade(example, answer):\n    return float('nan')", "#### 4", "4", "error"),
    ],
)
def test_a_program_of_the_job_judges(program: str, text: str, answer: str, verdict: str) -> None:
    assert verify("program", text, answer, program=program, program_timeout_s=1).verdict == verdict


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("We add.\n#### 42", "42"),
        ("```lean\nby simp\n```", "by simp"),
        ("first\n```\na\n```\nthen\n```\nb\n```", "b"),
        ("```\nnever closed", None),
        ("<think>a</think>\n  by simp  ", "by simp"),
        ("", None),
    ],
)
def test_the_answer_is_the_last_block_or_what_is_stated_or_all(text: str, answer: str | None) -> None:
    span = stated_answer(text)
    assert (None if span is None else text[slice(*span)]) == answer


def test_a_program_without_the_function_is_refused_with_its_fix() -> None:
    with pytest.raises(ValidationError, match="write def grade"):
        config(program="print(1)")


def test_few_shot_examples_are_judged_by_the_program() -> None:
    shown = PromptSet(Kind("program"), (FewShotExample("1 + 1?", "It is #### 3", "2"),))
    [error] = check_prompt_set(shown, program=SAME_NUMBER)
    assert "Does not lead to its own answer" in error.reason


def test_without_a_sandbox_nothing_is_judged() -> None:
    with using_runner(None), pytest.raises(SandboxFailed):
        verify("program", "#### 4", "4", program=SAME_NUMBER)


def config(**verifier: Any) -> StarConfig:
    return StarConfig.model_validate({"kind": "program", "iterations": 1, "verifier": verifier})
