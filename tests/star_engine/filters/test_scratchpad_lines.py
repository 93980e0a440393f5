"""Every line of an addition's scratchpad is checked, however right the last one is."""

import random
from collections.abc import Iterator

import pytest

from star_engine.filters.filter_input import FilterInput
from star_engine.filters.scratchpad_lines import false_line
from star_engine.filters.step_arithmetic import step_arithmetic
from star_engine.testing.addition import addition_scratchpad

RIGHT = """\
6 2 4 + 2 5 9 , C: 0
2 + 5 , 3 C: 1
6 + 2 , 8 3 C: 0
, 8 8 3 C: 0
0 8 8 3"""
UNEQUAL = """\
2 9 + 4 9 2 , C: 0
2 + 4 9 , 1 C: 1
4 , 2 1 C: 1
, 5 2 1 C: 0
5 2 1"""


def _falsified(lines: list[str]) -> Iterator[list[str]]:
    """The working with one digit changed, in every place; and with one line left out or twice."""
    for number, line in enumerate(lines):
        for place, sign in enumerate(line):
            if sign.isdigit():
                yield [
                    *lines[:number],
                    f"{line[:place]}{(int(sign) + 1) % 10}{line[place + 1 :]}",
                    *lines[number + 1 :],
                ]
        if number < len(lines) - 1:
            yield [*lines[:number], *lines[number + 1 :]]
            yield [*lines[: number + 1], *lines[number:]]


@pytest.mark.parametrize(("question", "working"), [("6 2 4 + 2 5 9", RIGHT), ("2 9 + 4 9 2", UNEQUAL)])
def test_each_changed_digit_and_each_missing_line_is_found(question: str, working: str) -> None:
    assert false_line(question, working) is None
    false = ["\n".join(lines) for lines in _falsified(working.split("\n"))]
    assert len(false) >= 30
    assert [one for one in false if false_line(question, one) is None] == []


def test_right_workings_of_all_lengths_pass_and_forgotten_carries_do_not() -> None:
    dice = random.Random(1)
    for length in (1, 2, 3, 5, 8):
        for _ in range(40):
            left, right = ([dice.randrange(10) for _ in range(length)] for _ in range(2))
            question = " + ".join(" ".join(map(str, digits)) for digits in (left, right))
            right_text = addition_scratchpad(left, right)
            forgotten = addition_scratchpad(left, right, carries=False)
            assert step_arithmetic(_item(question, right_text)) is None
            assert (step_arithmetic(_item(question, forgotten)) is None) is (forgotten == right_text)


def test_comments_and_other_layouts_are_passed_over() -> None:
    noted = RIGHT.replace("3 C: 1", "3 C: 1   # added 4 + 9 = 3 carry 1")
    assert false_line("6 2 4 + 2 5 9", noted) is None
    assert false_line("6 2 4 + 2 5 9", "4 + 9 = 13\n2 + 5 + 1 = 8\n6 + 2 = 8") is None
    assert false_line("6 2 4 times 2", RIGHT) is None


def _item(question: str, completion: str) -> FilterInput:
    answer = completion.rpartition("\n")[2]
    return FilterInput(question, answer, None, "scratchpad", "rationalized", completion)
