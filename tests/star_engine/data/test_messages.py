"""Conversations in datasets and prompt sets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from star_engine.data.prompt_sets import read_prompt_set
from star_engine.data.readers import read_example
from star_engine.data.row_errors import BadRows
from star_engine.tasks.kind import Kind

USER = {"role": "user", "content": "What is 2 + 2?"}
SAID = {"role": "assistant", "content": "2 + 2 = 4. The answer is 4."}
MORE = [{"role": "user", "content": "And 3 + 3?"}, {"role": "assistant", "content": "The answer is 6."}]
SYSTEM = {"role": "system", "content": "Be brief."}


def _refused(row: dict[str, Any]) -> str:
    with pytest.raises(BadRows) as caught:
        read_example(row, Kind.NUMERIC)
    return "; ".join(f"{error.field}: {error.reason} {error.fix}" for error in caught.value.errors)


def test_a_conversation_with_a_gold_answer_is_a_row() -> None:
    found = read_example({"messages": [USER], "answer": 4, "group": "sums"}, Kind.NUMERIC)
    assert (found.question, found.answer, found.group) == ("What is 2 + 2?", "4", "sums")
    assert found.solution is None


def test_what_the_assistant_says_is_the_worked_solution() -> None:
    found = read_example({"messages": [USER, SAID], "answer": "4"}, Kind.NUMERIC)
    assert found.solution == SAID["content"]


def test_earlier_turns_are_the_context_of_the_last_question() -> None:
    found = read_example({"messages": [USER, SAID, *MORE], "answer": 6}, Kind.NUMERIC)
    assert (found.question, found.solution) == ("And 3 + 3?", "The answer is 6.")
    assert found.context == ((USER["content"], SAID["content"]),)
    assert read_example({"messages": [USER, SAID, MORE[0]], "answer": 6}, Kind.NUMERIC).solution is None


@pytest.mark.parametrize(
    ("text", "reason"), [("It is b (CORRECT).", "hint mark"), ("half \ud800", "half a character")]
)
def test_an_earlier_turn_is_held_to_what_a_question_is_held_to(text: str, reason: str) -> None:
    turns = [USER, {"role": "assistant", "content": text}, MORE[0]]
    assert reason in _refused({"messages": turns, "answer": 6})


def test_a_question_of_digits_has_no_context() -> None:
    turns = [USER, SAID, {"role": "user", "content": "1 + 2"}]
    with pytest.raises(BadRows, match="has no context"):
        read_example({"messages": turns, "answer": "3"}, Kind.SCRATCHPAD)


def test_a_row_of_a_table_without_a_conversation_is_a_question() -> None:
    row = {"messages": None, "question": "What is 2 + 2?", "answer": 4}
    assert read_example(row, Kind.NUMERIC).question == "What is 2 + 2?"


def test_a_conversation_without_a_gold_answer_is_refused() -> None:
    assert "A chat" in _refused({"messages": [USER, SAID]})


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([SYSTEM, USER], "config.chat.system"),
        ([USER, USER], "second one of user"),
        ([SAID], "comes too early"),
        ([{"role": "tool", "content": "4"}], "no role that is known"),
        ([{"role": "user", "content": [{"type": "text"}]}], "has no text"),
        ([], "Not a list of turns"),
        ("What?", "Not a list of turns"),
    ],
)
def test_a_conversation_that_is_no_row_says_what_to_change(turns: Any, reason: str) -> None:
    assert reason in _refused({"messages": turns, "answer": 4})


def test_a_conversation_is_a_prompt_set_with_its_answers_read_from_it() -> None:
    found = read_prompt_set(json.dumps({"kind": "numeric", "messages": [USER, SAID, *MORE]}))
    assert [(one.question, one.rationale, one.answer) for one in found.examples] == [
        ("What is 2 + 2?", "2 + 2 = 4. The answer is 4.", "4"),
        ("And 3 + 3?", "The answer is 6.", "6"),
    ]


def test_entries_of_a_prompt_set_may_be_conversations_with_their_choices() -> None:
    asked = {"role": "user", "content": "Where is it?"}
    said = {"role": "assistant", "content": "It rains. Therefore, the answer is there (b)."}
    entry = {"messages": [asked, said], "choices": ["here", "there"]}
    found = read_prompt_set({"kind": "choice", "examples": [entry]})
    assert (found.examples[0].answer, found.examples[0].choices) == ("b", ("here", "there"))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"messages": [USER]}, "rationale"),
        ({"messages": [USER, {"role": "assistant", "content": "Who knows."}]}, "No answer can be read"),
        ({"messages": [USER, SAID, *MORE], "answer": "4"}, "One answer for 2 questions"),
        ({"messages": [USER, SAID], "answer": "5"}, "Does not lead to its own answer"),
        ({"messages": [SYSTEM, USER, SAID]}, "config.chat.system"),
    ],
)
def test_a_conversation_that_is_no_few_shot_example_says_why(entry: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRows) as caught:
        read_prompt_set({"kind": "numeric", "examples": [entry]})
    assert reason in "; ".join(f"{error.field}: {error.reason} {error.fix}" for error in caught.value.errors)
