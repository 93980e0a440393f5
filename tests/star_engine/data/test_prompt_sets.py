import json
from dataclasses import replace
from typing import Any

import pytest

from star_engine.data.prompt_sets import (
    check_prompt_set,
    groups_without_examples,
    prompt_set_warnings,
    read_prompt_set,
)
from star_engine.data.row_errors import BadRows
from star_engine.tasks.examples import FewShotExample, PromptSet
from star_engine.tasks.kind import Kind

ROW: dict[str, Any] = {
    "question": "What do people use to absorb extra ink?",
    "choices": ["inkwell", "blotter"],
    "rationale": "Blotters absorb liquids. Therefore, the answer is blotter (b).",
    "answer": "b",
}
SUM = FewShotExample("1 + 1", "<scratch>\n1 + 1 , C: 0\n</scratch>\n2", "2", group="1")
TEXT = """Q: What do people use to absorb extra ink?
Answer Choices:
(a) inkwell
(b) blotter
A: Blotters absorb liquids. Therefore, the answer is blotter (b).

Q: What requires cable?
Answer Choices:
(a) television
(b) desk
A: Televisions do. Therefore, the answer is television (a)."""


def reasons(data: dict[str, Any] | str | bytes, kind: Kind | None = None) -> list[str]:
    with pytest.raises(BadRows) as caught:
        read_prompt_set(data, kind)
    assert all(error.fix for error in caught.value.errors)
    return [f"{error.line} {error.field}: {error.reason}" for error in caught.value.errors]


def test_json_is_read_parsed_or_not() -> None:
    data = {"kind": "choice", "examples": [ROW, ROW | {"group": "ink"}]}
    found = read_prompt_set(data)
    assert found == read_prompt_set(json.dumps(data)) == read_prompt_set(json.dumps(data).encode())
    assert found.kind is Kind.CHOICE
    assert found.examples[0].rationale == ROW["rationale"]
    assert [example.group for example in found.examples] == [None, "ink"]


def test_text_is_read_with_the_answers_of_its_rationales() -> None:
    found = read_prompt_set(TEXT)
    assert found.kind is Kind.CHOICE
    assert [example.answer for example in found.examples] == ["b", "a"]
    assert found.examples[1].choices == ("television", "desk")
    numeric = read_prompt_set("Q: How many?\nA: One.\nAnd one more.\n#### 2\n\nQ: And now?\nA: #### 3\n")
    assert [(e.question, e.rationale, e.answer) for e in numeric.examples] == [
        ("How many?", "One.\nAnd one more.\n#### 2", "2"),
        ("And now?", "#### 3", "3"),
    ]
    sums = read_prompt_set(
        f"Input:\n1 + 1\nTarget:\n{SUM.rationale}\n\nInput:\n1 + 1\nTarget:\n{SUM.rationale}"
    )
    assert sums == PromptSet(Kind.SCRATCHPAD, (replace(SUM, group=None),) * 2)


def test_text_with_windows_line_ends_is_the_same() -> None:
    assert read_prompt_set(TEXT.replace("\n", "\r\n").encode()) == read_prompt_set(TEXT)


def test_a_rationale_that_misses_its_own_answer_is_named_with_its_number() -> None:
    wrong = ROW | {"rationale": "Therefore, the answer is inkwell (a)."}
    silent = ROW | {"rationale": "Blotters absorb liquids."}
    found = reasons({"kind": "choice", "examples": [ROW, wrong, silent]})
    assert found[0].startswith("2 rationale: Does not lead to its own answer 'b': it answers '(a)' (wrong)")
    assert found[1].startswith("3 rationale: Does not lead to its own answer 'b': no answer can be read")


@pytest.mark.parametrize(
    ("rationale", "reason"),
    [
        (" <scratch>\n</scratch>\n2", "white space"),
        ("<scratch>\n(CORRECT)\n</scratch>\n2", "hint mark"),
        ("<scratch>\n</scratch>\n2\n\nInput:\n3 + 3", "cut off"),
        ("<scratch>\n</scratch>\n3", "it answers '3' (wrong)"),
        ("2", "no answer can be read from it (unparsed)"),
    ],
)
def test_a_few_shot_example_that_teaches_a_fault_is_refused(rationale: str, reason: str) -> None:
    bad = PromptSet(Kind.SCRATCHPAD, (SUM, replace(SUM, rationale=rationale)))
    (error,) = check_prompt_set(bad)
    assert error.line == 2
    assert reason in error.reason
    assert check_prompt_set(PromptSet(Kind.SCRATCHPAD, (SUM,))) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"kind": "choice", "examples": []}, "empty"),
        ({"kind": "chess", "examples": []}, "no kind"),
        ({"kind": "choice"}, "Not a list"),
        ({"kind": "choice", "examples": ["x"]}, "Not an object"),
        ({"kind": "choice", "examples": [ROW | {"rationale": None}]}, "Missing, empty"),
        ({"kind": "choice", "examples": [ROW | {"answer": "c"}]}, "no choice"),
        ("{", "Not JSON"),
        (b"caf\xe9", "Not UTF-8"),
        ("Tell me more", "Not laid out"),
        ("Q: How many?\nA: Many.", "No answer can be read"),
        ("Input:\n1 + 1\nTarget: 2\n<scratch>\n</scratch>\n2", "Shows the hint"),
        (TEXT.replace("blotter\n", "blotter (CORRECT)\n"), "Shows the hint"),
        (TEXT.replace("(b) desk", "(c) desk"), "out of order"),
    ],
)
def test_bad_prompt_sets_are_refused_with_the_reason(data: dict[str, Any] | str | bytes, reason: str) -> None:
    (only,) = reasons(data)
    assert reason in only


def test_a_kind_that_does_not_agree_is_refused() -> None:
    assert "laid out as choice, not numeric" in reasons(TEXT, Kind.NUMERIC)[0]
    assert "of kind choice, not numeric" in reasons({"kind": "choice", "examples": [ROW]}, Kind.NUMERIC)[0]
    assert read_prompt_set({"examples": [ROW]}, Kind.CHOICE).kind is Kind.CHOICE


def test_groups_without_few_shot_examples_are_found() -> None:
    grouped = PromptSet(Kind.SCRATCHPAD, (SUM,))
    assert groups_without_examples(grouped, ["1", "2", None, "3"]) == ["2", "3"]
    general = PromptSet(Kind.SCRATCHPAD, (SUM, replace(SUM, group=None)))
    assert groups_without_examples(general, ["1", "2", None]) == []


def test_examples_that_ask_the_same_are_warned_of_and_called_what_they_are() -> None:
    first = FewShotExample("Two and two?", "It is four. #### 4", "4")
    again = replace(first, question="two  and two?", rationale="2 + 2 = 4 #### 4")
    other = replace(first, rationale="It is five. #### 5", answer="5")
    assert prompt_set_warnings(PromptSet(Kind.NUMERIC, (first,))) == []
    [warning] = prompt_set_warnings(PromptSet(Kind.NUMERIC, (first, again)))
    assert warning.startswith("Examples 1, 2 ask the same: each takes room")
    [warning] = prompt_set_warnings(PromptSet(Kind.NUMERIC, (first, again, other)))
    assert warning.startswith("Examples 1, 2, 3 ask the same, and their answers differ")


def test_a_choice_in_another_place_is_the_same_answer() -> None:
    first = FewShotExample("Which?", "A cat. So the answer is (a).", "a", ("cat", "cow"))
    turned = replace(first, answer="b", choices=("cow", "cat"))
    [warning] = prompt_set_warnings(PromptSet(Kind.CHOICE, (first, turned)))
    assert "shows nothing new" in warning
    [warning] = prompt_set_warnings(PromptSet(Kind.CHOICE, (first, replace(turned, answer="a"))))
    assert "answers differ" in warning
