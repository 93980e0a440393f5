"""Marks in texts: every character stays, in its order, and what is marked is what differs."""

from __future__ import annotations

from app.dashboard.results.prompts_shown import own_block
from app.dashboard.results.segments import Segment, answered, changes, marked
from star_engine.tasks.registry import task_of


def test_a_span_is_marked_where_it_stands() -> None:
    assert marked("so 7.", (3, 4), "answer") == [Segment("so "), Segment("7", "answer"), Segment(".")]
    assert marked("7", (0, 1), "answer") == [Segment("7", "answer")]
    assert marked("none", None, "answer") == [Segment("none")]


def test_changes_hold_both_texts_whole() -> None:
    before, after = "6 + 7 is 12,\nso 12 <b>", "6 + 7 is 13,\nso it is 13 <b>"
    found = changes(before, after)
    assert found is not None
    assert "".join(one.text for one in found if one.mark != "removed") == after
    assert "".join(one.text for one in found if one.mark != "added") == before
    assert [one.text for one in found if one.mark == "removed"] == ["12", "12"]


def test_another_text_altogether_has_no_marks() -> None:
    assert changes("one two three four", "vier f\N{LATIN SMALL LETTER U WITH DIAERESIS}nf sechs") is None


def test_long_texts_are_compared_by_lines() -> None:
    lines = [f"{number} + {number} is {2 * number}\n" for number in range(200)]
    found = changes("".join(lines), "".join([*lines[:100], "or not\n", *lines[101:]]))
    assert found is not None
    assert [(one.mark, one.text) for one in found if one.mark] == [
        ("removed", lines[100]),
        ("added", "or not\n"),
    ]


def test_the_few_shot_examples_are_told_from_the_own_block() -> None:
    assert own_block("Q: a\nA: b\n\nQ: c\n\nd\nA:", task_of("numeric").layout) == (
        "Q: a\nA: b",
        "Q: c\n\nd\nA:",
    )
    assert own_block("Input:\n1 + 1\nTarget:", task_of("scratchpad").layout) == ("", "Input:\n1 + 1\nTarget:")


def test_what_is_not_trained_on_of_a_rationale_is_struck_through() -> None:
    text = "It is 72. And so on."
    assert answered(text, (6, 8), "It is 72.") == [
        Segment("It is "),
        Segment("72", "answer"),
        Segment("."),
        Segment(" And so on.", "removed"),
    ]
    assert answered(text, (6, 8), None) == marked(text, (6, 8), "answer")
