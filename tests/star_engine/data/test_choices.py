"""Which of a row's options is the gold answer, whatever the row calls them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from star_engine.data.readers import answer_field, read_example
from star_engine.data.row_errors import BadRows
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind

ANIMALS = ["cat", "dog", "cow", "hen"]
HAVE_GAP = ["cat", None, "cow", "hen"]


def read(**row: Any) -> Example:
    return read_example({"question": "Which?", **row}, Kind.CHOICE)


def gold(**row: Any) -> str:
    example = read(**row)
    assert example.choices is not None
    return example.choices[ord(example.answer) - ord("a")]


def refused(**row: Any) -> str:
    with pytest.raises(BadRows) as caught:
        read(**row)
    return str(caught.value)


@pytest.mark.parametrize(("letter", "text"), [("A", "cat"), ("C", "cow"), ("d", "hen"), ("(d)", "hen")])
def test_an_option_that_is_left_out_does_not_move_the_letters_behind_it(letter: str, text: str) -> None:
    assert gold(choices=HAVE_GAP, answer=letter) == text


def test_the_letter_of_an_option_that_is_left_out_is_no_answer() -> None:
    assert "names choice b, which is empty" in refused(choices=HAVE_GAP, answer="B")


def test_options_left_out_at_the_end_are_of_no_account() -> None:
    assert read(choices=["yes", "no", None, None], answer="B").choices == ("yes", "no")


@pytest.mark.parametrize("text", ["Only (C) gives milk.", "Both C and D are right.", "It is option D."])
def test_a_text_that_names_an_option_behind_an_empty_one_by_its_letter_is_refused(text: str) -> None:
    assert "is stored as" in refused(choices=HAVE_GAP, answer="A", solution=text)
    assert gold(choices=ANIMALS, answer="A", solution=text) == "cat"


@pytest.mark.parametrize(
    "written",
    [
        ["A. cat", "B. dog", "C. cow", "D. hen"],
        ["(a) cat", "(b) dog", "(c) cow", "(d) hen"],
        ["A)cat", "B)dog", "C)cow", "D)hen"],
        ["1. cat", "2. dog", "3. cow", "4. hen"],
        ["A: cat", "B: dog", "C: cow", "D: hen"],
    ],
)
def test_labels_that_all_options_begin_with_are_removed(written: list[str]) -> None:
    assert read(choices=written, answer="C") == Example("row-1", "Which?", "c", tuple(ANIMALS))
    assert gold(choices=written, answer=written[1]) == "dog"
    assert gold(choices=written, answer="hen") == "hen"


def test_labels_out_of_order_are_refused() -> None:
    assert "out of order" in refused(choices=["B. dog", "A. cat"], answer="A")


@pytest.mark.parametrize("texts", [["A. Smith", "Jones"], ["1.5", "2.5"], ["E. coli", "S. aureus"]])
def test_texts_that_only_look_like_labels_stay(texts: list[str]) -> None:
    assert read(choices=texts, answer="a").choices == tuple(texts)


@pytest.mark.parametrize(
    "choices",
    [
        {"text": ANIMALS, "label": ["A", "B", "C", "D"]},
        {"text": ANIMALS, "label": ["1", "2", "C", "4"]},
        {"A": "cat", "B": "dog", "C": "cow", "D": "hen"},
        {"A": "cat", "B": None, "C": "cow", "D": "hen"},
        [{"label": label, "text": text} for label, text in zip("ABCD", ANIMALS, strict=True)],
    ],
)
def test_options_with_labels_apart_are_read(choices: Any) -> None:
    assert gold(choices=choices, answer="C") == "cow"


def test_a_number_among_published_labels_is_a_label() -> None:
    choices = {"text": ["4", "3", "2"], "label": ["1", "2", "3"]}
    assert gold(choices=choices, answer="2") == "3"
    assert "no choice" in refused(choices=choices, answer="0")


@pytest.mark.parametrize("answer", [1, "1"])
def test_a_number_that_may_be_a_place_is_refused_with_both_readings(answer: Any) -> None:
    told = refused(choices=ANIMALS, answer=answer)
    assert "counted from 0 it is 'dog', counted from 1 it is 'cat'" in told
    assert "answer_index if it counts from 0, answer_number if it counts from 1" in told


def test_a_number_that_is_also_the_text_of_an_option_is_refused_with_its_three_readings() -> None:
    told = refused(choices=["1", "2", "3", "4"], answer=1)
    assert "as a text it is '1', counted from 0 it is '2', counted from 1 it is '1'" in told


def test_a_number_that_can_only_be_a_text_is_one() -> None:
    assert gold(choices=["12", "15", "18"], answer=15) == "15"


@pytest.mark.parametrize(
    ("field", "given", "text"),
    [
        ("answer_index", 0, "cat"),
        ("answer_index", "3", "hen"),
        ("answer_index", 2.0, "cow"),
        ("answer_number", 1, "cat"),
        ("answer_number", "4", "hen"),
        ("answer_text", "Cow", "cow"),
    ],
)
def test_a_row_may_say_how_its_answer_is_meant(field: str, given: Any, text: str) -> None:
    assert gold(choices=ANIMALS, **{field: given}) == text


@pytest.mark.parametrize(
    ("field", "given", "reason"),
    [
        ("answer_index", 4, "counted from 0; give one of 0 to 3"),
        ("answer_number", 0, "counted from 1; give one of 1 to 4"),
        ("answer_index", "b", "is no place of a choice"),
        ("answer_index", True, "is no place of a choice"),
        ("answer_text", "goat", "the text of no choice"),
    ],
)
def test_an_answer_that_does_not_fit_how_it_is_meant_is_refused(field: str, given: Any, reason: str) -> None:
    told = refused(choices=ANIMALS, **{field: given})
    assert f"row 1, {field}: " in told
    assert reason.split(";", maxsplit=1)[0] in told


def test_an_index_counts_the_places_of_options_that_are_left_out() -> None:
    assert gold(choices=HAVE_GAP, answer_index=2) == "cow"


@pytest.mark.parametrize(
    ("answers", "field"),
    [
        ([0, 1, 3, 2], "answer_index"),
        (["1", "4", "2"], "answer_number"),
        ([1, 2, 3], None),
        ([0, 4], None),
        ([0, "b"], None),
        (["A", "B"], None),
        ([], None),
    ],
)
def test_a_data_set_shows_how_it_counts_or_leaves_it_open(answers: list[Any], field: str | None) -> None:
    rows = [{"question": "?", "choices": ANIMALS, "answer": answer} for answer in answers]
    assert answer_field(rows, Kind.CHOICE) == field


def test_one_option_whose_text_is_the_number_leaves_it_open_how_a_data_set_counts() -> None:
    rows = [{"choices": ANIMALS, "answer": 0}, {"choices": ["0", "1", "2"], "answer": 0}]
    assert answer_field(rows, Kind.CHOICE) is None


def test_true_and_false_are_refused_as_no_texts() -> None:
    told = refused(choices=["yes", "no"], answer=True)
    assert 'Write it as a text: "yes" or "no".' in told


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"choices": [1, True]}, "not a text"),
        ({"choices": ["x", None]}, "Fewer than 2"),
        ({"choices": {"text": ["x", "y"], "label": ["A", "A"]}}, "labels do not name each"),
        ({"choices": {"first": "x", "second": "y"}}, "Not a list"),
        ({"options": ["x", "y"]}, "rename it to 'choices'"),
    ],
)
def test_options_that_cannot_be_read_are_refused(row: dict[str, Any], reason: str) -> None:
    assert reason in refused(answer="a", **row)


def test_numbers_as_options_are_their_texts() -> None:
    assert read(choices=[7, 7.5, 1e16], answer="b").choices == ("7", "7.5", "10000000000000000")


def test_a_chat_is_named_and_where_its_question_stands() -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "2 + 2?"}]
    row = {"messages": [*chat, {"role": "assistant", "content": "4"}]}
    with pytest.raises(BadRows) as caught:
        read_example(json.loads(json.dumps(row)), Kind.NUMERIC)
    [error] = caught.value.errors
    assert (error.field, error.reason.split(",")[0]) == ("messages", "A chat")
    assert error.columns == (("question", "messages.1.content"), ("answer", "messages.2.content"))


@pytest.mark.parametrize(
    ("column", "field"), [("prompt", "question"), ("Correct Answer", "answer"), ("final_answer", "answer")]
)
def test_a_column_that_probably_holds_the_missing_field_is_named(column: str, field: str) -> None:
    row = {"question": "2 + 2?", "answer": "4"}
    row[column] = row.pop(field)
    with pytest.raises(BadRows, match=f"If '{column}' is that, rename it to '{field}'"):
        read_example(row, Kind.NUMERIC)
