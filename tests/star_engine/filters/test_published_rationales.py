"""Rationales that people wrote, and right scratchpads, pass every filter."""

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from star_engine.filters.registry import FILTERS, FilterInput
from star_engine.tasks.verify import verify


def _published(name: str) -> str:
    folder = os.environ.get("STAR_TEST_DATA")
    if not folder:
        pytest.skip(f"STAR_TEST_DATA does not name the folder with {name}")
    return (Path(folder) / name).read_text()


def _scratchpad(left: int, right: int) -> tuple[str, str, str]:
    """Question, completion and answer of an addition, byte for byte as in figure 3 of the paper."""
    spaced = [" ".join(str(number)) for number in (left, right, left + right)]
    question, carry, digits = f"{spaced[0]} + {spaced[1]}", 0, ""
    lines = [f"{question} , C: 0"]
    for place, (a, b) in enumerate(zip(spaced[0].split()[::-1], spaced[1].split()[::-1], strict=True)):
        if place:
            lines.append(f"{a} + {b} , {digits}C: {carry}")
        carry, digit = divmod(int(a) + int(b) + carry, 10)
        digits = f"{digit} {digits}"
    lines += [f", {digits}C: {carry}", f"{carry} {digits}".rstrip()]
    return question, "\n".join(["<scratch>", *lines, "</scratch>", spaced[2]]), spaced[2]


def test_right_scratchpads_pass_every_filter() -> None:
    for digits in (1, 2, 3, 5):
        low = 10 ** (digits - 1)
        operands = [(low + n * 7 % (9 * low), low + n * 5 % (9 * low)) for n in range(40)]
        worked = [_scratchpad(*pair) for pair in operands]
        assert _scratchpad(624, 259)[1].splitlines()[1] == "6 2 4 + 2 5 9 , C: 0"
        for n, (question, completion, answer) in enumerate(worked):
            shown = tuple(other for _, other, _ in worked[:n][-9:])
            item = FilterInput(
                question, answer, None, "scratchpad", "rationalized", completion, answer, shown
            )
            assert verify("scratchpad", completion, answer).is_correct
            assert [name for name, one in FILTERS.items() if one(item)] == []


def test_the_few_shot_rationales_of_commonsenseqa_pass_every_filter() -> None:
    blocks = _published("commonsenseqa_prompts.txt").split("\n\n")
    rationales = [block.split("\nA: ")[1].strip() for block in blocks]
    assert len(blocks) == 7
    for block, rationale in zip(blocks, rationales, strict=True):
        item = FilterInput(
            question=block.split("\n")[0].removeprefix("Q: "),
            answer=rationale[-3],  # how the released code reads it
            choices=tuple(re.findall(r"^\([a-e]\) (.*)$", block, re.MULTILINE)),
            kind="choice",
            route="rationalized",
            completion=rationale,
            hint="(CORRECT)",
            fewshot_rationales=tuple(other for other in rationales if other != rationale),
        )
        assert verify("choice", rationale, item.answer, item.choices).is_correct
        assert [name for name, one in FILTERS.items() if one(item)] == []


def test_human_solutions_of_gsm8k_are_correct_and_nearly_all_pass() -> None:
    """Of all 7,473, some 24 have a false equation (20 really do) and 6 count as answer first."""
    rows = [json.loads(line) for line in _published("gsm8k_train.jsonl").splitlines()][::10]
    shown = tuple(b.split("\nA: ")[1].strip() for b in _published("gsm8k_prompts.txt").split("\n\n"))
    rejected: Counter[str] = Counter()
    for row in rows:
        solution = row["answer"]
        answer = solution.split("####")[1].strip()
        assert verify("numeric", f" {solution}", answer).is_correct, solution
        others = tuple(other for other in shown if other != solution.strip())
        item = FilterInput(
            row["question"], answer, None, "numeric", "rationalized", solution, f"({answer})", others
        )
        rejected.update(name for name, one in FILTERS.items() if one(item))
    allowed = {"step_arithmetic": 0.01, "answer_first": 0.005}
    assert all(rejected[name] <= allowed.get(name, 0) * len(rows) for name in FILTERS), rejected
