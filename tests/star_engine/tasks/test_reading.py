"""The stages that every kind reads an answer through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.tasks.reading.cut import answer_has_ended
from star_engine.tasks.reading.dressing import undress
from star_engine.tasks.reading.final_part import final_part
from star_engine.tasks.reading.phrases import any_of
from star_engine.tasks.verify import verify


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("no thinking", "no thinking"),
        ("<think>a</think> b", " b"),
        ("a</think>b", "b"),  # the opening tag stood in the prompt
        ("<THINK>a</THINK>b<think>c</think>d", "d"),
        ("<think>a", None),
        ("<think>a</think>b<think>c", None),
        ("[THINK]a[/THINK]b", "b"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>c",
            "b",
        ),
        ("<|channel|>analysis<|message|>a<|end|>", None),
        ("analysisWe add.assistantfinalb", "b"),
        ("analysisWe add.", None),
        ("analysis of it: b", "analysis of it: b"),
        ("b<|eot_id|>c", "b"),
    ],
)
def test_the_final_part_is_what_stands_behind_the_thinking(text: str, final: str | None) -> None:
    part = final_part(text)
    assert (None if part is None else text[slice(*part)]) == final


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("**Answer:** 42", "Answer: 42"),
        ("*a* and __b__ and `c`", "a and b and c"),
        ("2 ** 3 and 6*7", "2 ** 3 and 6*7"),
        ("## Heading\n> quoted\n- item", " Heading\nquoted\nitem"),
        ("#### 42", "#### 42"),
        ("$42$ costs $5 and $3", "42 costs $5 and $3"),
        ("\\boxed{5\\text{ cm}}", "5 cm"),
        ("\\$1{,}080", "$1,080"),
        ("48+24 = <<48+24=72>>72", "48+24 = 72"),
    ],
)
def test_dressing_is_taken_off(text: str, plain: str) -> None:
    assert undress(text).text == plain


PIECES = [
    "**",
    "*",
    "a",
    "42",
    " ",
    "$",
    "\\boxed{",
    "\\text{",
    "}",
    "{,}",
    "`",
    "\n",
    "- ",
    "# ",
    "\\(",
    "\\)",
    "<b>",
    "\u200b",
]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_every_character_of_a_plain_text_is_found_in_the_original(text: str) -> None:
    plain = undress(text)
    for position, character in enumerate(plain.text):
        start, end = plain.original(position, position + 1)
        assert text[start:end] == character


@pytest.mark.parametrize(
    ("text", "stated", "closed", "ended"),
    [
        ("#### 7", "7", False, False),
        ("#### 72\n\nTom", "72", False, True),
        ("The answer is 42 mi", "42", False, False),
        ("The answer is 42.", "42", False, False),  # of 42.5, perhaps
        ("The answer is 42. It", "42", False, True),
        ("\\boxed{42}", "42", False, True),
        ("<answer>42</answer>", "42", False, True),
        ("The answer is (b)", "(b)", True, True),
        ("Answer: B", "B", True, False),  # of Both, perhaps
    ],
)
def test_an_answer_has_ended_where_nothing_can_be_added_to_it(
    text: str, stated: str, closed: bool, ended: bool
) -> None:
    start = text.rindex(stated)
    assert answer_has_ended(text, (start, start + len(stated)), closed=closed) == ended


def test_a_list_of_phrases_is_a_pattern() -> None:
    assert any_of("rul(e|es) out, don't\n at first") == r"(?:rul(?:e|es)\s+out|don['’]t|at\s+first)"


@pytest.mark.parametrize(
    ("tolerance", "stated", "answer", "verdict"),
    [
        (None, "3.1416", "3.14", "wrong"),
        ("0.01", "3.1416", "3.14", "correct"),
        ("0.001", "3.1416", "3.14", "wrong"),
        ("1%", "101", "100", "correct"),
        ("1%", "102", "100", "wrong"),
        ("1%", "-99", "-100", "correct"),
        ("digits", "3.1416", "3.14", "correct"),
        ("digits", "3.146", "3.14", "wrong"),
        ("digits", "3", "3.14", "wrong"),
        (0.5, "2.5", "3", "correct"),
    ],
)
def test_a_number_may_be_as_far_off_as_the_job_allows(
    tolerance: str | float | None, stated: str, answer: str, verdict: str
) -> None:
    options: dict[str, Any] = {} if tolerance is None else {"tolerance": tolerance}
    assert verify("numeric", f"#### {stated}", answer, **options).verdict == verdict


@pytest.mark.parametrize("tolerance", ["", "near", "-1", "1/0", True])
def test_a_tolerance_that_cannot_be_read_is_refused_with_the_fix(tolerance: object) -> None:
    with pytest.raises(ValueError, match=r"relative one|string"):
        verify("numeric", "#### 3", "3", tolerance=tolerance)
