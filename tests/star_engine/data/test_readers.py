import json
import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.data import row_fields
from star_engine.data.readers import read_example, read_examples
from star_engine.data.row_errors import BadRows, RowError
from star_engine.data.row_fields import MAX_COLUMNS
from star_engine.tasks.examples import Example, assign_splits
from star_engine.tasks.kind import Kind
from star_engine.tasks.verify import check_gold, verify, verify_direct

CQA = {
    "answerKey": "B",
    "id": "61fe6e87",
    "question": {
        "question_concept": "people",
        "choices": [{"label": "A", "text": "race track"}, {"label": "B", "text": "populated areas"}],
        "stem": "Where might he go?",
    },
}


def errors_of(row: dict[str, Any], kind: Kind) -> list[RowError]:
    with pytest.raises(BadRows) as caught:
        read_example(row, kind, line=7)
    assert all(error.line == 7 and error.fix for error in caught.value.errors)
    return list(caught.value.errors)


def test_a_native_row_is_read_with_all_its_fields() -> None:
    row = {"id": "x", "question": " 1 + 1 ", "answer": "2", "group": 1, "split": "test", "source": "mine"}
    assert read_example(row, Kind.SCRATCHPAD) == Example("x", "1 + 1", "2", None, "1", "test")


def test_a_gsm8k_row_is_read_as_its_gold_and_its_solution() -> None:
    published = "He sold 48/2 = <<48/2=24>>24.\n#### 1,080"
    example = read_example({"question": "How many?", "answer": published}, Kind.NUMERIC, line=3)
    assert example == Example("row-3", "How many?", "1,080", solution=published)
    assert verify(Kind.NUMERIC, published, example.answer).is_correct


def test_a_row_may_bring_a_worked_solution_of_its_own() -> None:
    row = {"question": "6 + 2", "answer": "8", "solution": " Six and two. #### 8\n"}
    assert read_example(row, Kind.NUMERIC).solution == "Six and two. #### 8"
    assert read_example({**row, "solution": None}, Kind.NUMERIC).solution is None
    published = {**row, "answer": "Add them.\n#### 8"}
    assert read_example(published, Kind.NUMERIC).solution == "Six and two. #### 8"
    assert read_example({**CQA, "solution": "People live there (b)."}, Kind.CHOICE).solution is not None


@pytest.mark.parametrize(
    "solution", ["", 7, ["6 + 2 = 8"], "half a \ud800", "It is (correct) that way. #### 8"]
)
def test_a_solution_that_cannot_be_used_is_refused(solution: object) -> None:
    row = {"question": "6 + 2", "answer": "8", "solution": solution}
    assert [error.field for error in errors_of(row, Kind.NUMERIC)] == ["solution"]


def test_a_commonsenseqa_row_is_read_with_lower_case_letters() -> None:
    expected = Example("61fe6e87", "Where might he go?", "b", ("race track", "populated areas"))
    assert read_example(CQA, Kind.CHOICE) == expected
    flat = {
        "id": "61fe6e87",
        "question": "Where might he go?",
        "question_concept": "people",
        "choices": {"label": ["A", "B"], "text": ["race track", "populated areas"]},
        "answerKey": "B",
    }
    assert read_example(flat, Kind.CHOICE) == expected


@pytest.mark.parametrize("answer", ["b", "B", "(b)", "b.", "Blotter"])
def test_a_choice_may_be_given_by_letter_or_by_its_text(answer: str) -> None:
    row = {"question": "Which?", "answer": answer, "choices": ["pocket", "blotter"]}
    assert read_example(row, Kind.CHOICE).answer == "b"


@pytest.mark.parametrize(("given", "read"), [(72, "72"), (-3, "-3"), (0.5, "0.5"), ("1 1/2", "1 1/2")])
def test_numbers_may_be_given_as_json_numbers(given: object, read: str) -> None:
    assert read_example({"question": "?", "answer": given}, Kind.NUMERIC).answer == read


def test_every_mistake_of_a_row_is_named_at_once() -> None:
    row = {"qestion": "?", "answer": " ", "choices": ["only"], "split": "dev", "id": []}
    fields = [error.field for error in errors_of(row, Kind.CHOICE)]
    assert sorted(fields) == ["answer", "choices", "id", "qestion", "question", "split"]


@pytest.mark.parametrize(
    ("row", "kind", "field", "reason"),
    [
        ({"question": "?"}, Kind.NUMERIC, "answer", "Missing"),
        ({"question": "?", "answer": "many"}, Kind.NUMERIC, "answer", "'many'"),
        ({"question": "?", "answer": True}, Kind.NUMERIC, "answer", "Not a text"),
        ({"question": "?", "answer": float("nan")}, Kind.NUMERIC, "answer", "'nan'"),
        ({"question": "1 + 1", "answer": "two"}, Kind.SCRATCHPAD, "answer", "'two'"),
        ({"question": "?", "answer": "1", "choices": ["a", "b"]}, Kind.NUMERIC, "choices", "no choices"),
        ({"question": "?", "answer": "c", "choices": ["x", "y"]}, Kind.CHOICE, "answer", "no choice"),
        ({"question": "?", "answer": "x", "choices": ["x", "X"]}, Kind.CHOICE, "answer", "more than one"),
        ({"question": "?", "answer": "a", "choices": ["b", "a"]}, Kind.CHOICE, "answer", "more than one"),
        (
            {"question": "?", "answer": "a", "choices": ["x (correct)", "y"]},
            Kind.CHOICE,
            "choices",
            "hint mark",
        ),
        ({"question": "Why (Correct)?", "answer": "1"}, Kind.NUMERIC, "question", "hint mark"),
        ({"question": "?", "answer": "a", "choices": ["x\nz", "y"]}, Kind.CHOICE, "choices", "line break"),
        ({"question": "?", "answer": "a", "choices": ["", "y"]}, Kind.CHOICE, "choices", "not a text"),
        ({"question": "a\x00b", "answer": "1"}, Kind.NUMERIC, "question", "NUL"),
        ({"question": "a\ud800b", "answer": "1"}, Kind.NUMERIC, "question", "half a character"),
        ({"question": "?", "answer": "1", "id": "x" * 201}, Kind.NUMERIC, "id", "201 characters"),
        ({"question": "?", "answer": "1", "Group": "2"}, Kind.NUMERIC, "Group", "Not a field"),
        (CQA | {"answerKey": "C"}, Kind.CHOICE, "answer", "no choice"),
        (CQA | {"question": {"stem": "?"}}, Kind.CHOICE, "choices", "Not a list"),
    ],
)
def test_bad_rows_are_refused_with_field_and_reason(
    row: dict[str, Any], kind: Kind, field: str, reason: str
) -> None:
    (error,) = errors_of(row, kind)
    assert error.field == field
    assert reason in error.reason


def test_reading_lines_goes_on_after_bad_ones() -> None:
    lines = [
        b'\xef\xbb\xbf{"question": "1?", "answer": 1}',
        b"",
        b'{"question": "2?", "answer": 0.10}',
        b"{oops",
        b"[1]",
        b'{"question": "\xff"}',
        b'{"id": "row-1", "question": "3?", "answer": 3}',
        b'{"question": "4?"}',
    ]
    found = list(read_examples(lines, Kind.NUMERIC))
    good = [(item.id, item.answer) for item in found if isinstance(item, Example)]
    bad = [(item.line, item.field) for item in found if isinstance(item, RowError)]
    assert good == [("row-1", "1"), ("row-3", "0.10")]
    assert bad == [(4, "row"), (5, "row"), (6, "row"), (7, "id"), (8, "answer")]


def test_splits_are_carved_from_train_by_question() -> None:
    rows = [Example(f"e{n}", f"question {n % 90}", "1") for n in range(100)]
    split = assign_splits(rows, held_out=20, seed=1)
    held = {example.question for example in split if example.split == "validation"}
    kept = {example.question for example in split if example.split == "train"}
    assert not held & kept
    assert 20 <= sum(example.split == "validation" for example in split) <= 21
    shuffled = {e.id: e.split for e in assign_splits(rows[::-1], held_out=20, seed=1)}
    assert shuffled == {e.id: e.split for e in split}
    assert {e.id: e.split for e in assign_splits(rows, held_out=20, seed=2)} != shuffled


def test_given_splits_are_left_alone() -> None:
    rows = [
        Example("a", "1", "1", split="validation"),
        Example("b", "2", "1", split="test"),
        Example("c", "3", "1"),
    ]
    assert [e.split for e in assign_splits(rows, 1, 0)] == ["validation", "test", "train"]
    only_test = [Example("b", "2", "1", split="test"), Example("c", "3", "1"), Example("d", "4", "1")]
    assert [e.split for e in assign_splits(only_test, 9, 0)].count("test") == 1
    assert [e.split for e in assign_splits(only_test, 9, 0)].count("validation") == 1


@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [("gsm8k_train.jsonl", Kind.NUMERIC, 7473), ("commonsenseqa_train.jsonl", Kind.CHOICE, 9741)],
)
def test_the_published_data_sets_are_read_as_they_are(name: str, kind: Kind, rows: int) -> None:
    folder = os.environ.get("STAR_TEST_DATA")
    if not folder or not (Path(folder) / name).exists():
        pytest.skip(f"{name} is not here: set STAR_TEST_DATA to a folder with the published train splits")
    with (Path(folder) / name).open("rb") as lines:
        found = list(read_examples(lines, kind))
    assert [item for item in found if isinstance(item, RowError)] == []
    assert len(found) == rows
    example = found[0]
    assert isinstance(example, Example)
    assert verify_direct(kind, example.answer, example.answer, example.choices).is_correct


def test_errors_read_as_sentences() -> None:
    line = json.dumps({"question": "Which?", "answer": "c", "choices": ["x", "y"]})
    (error,) = read_examples([line], Kind.CHOICE)
    assert str(error) == "row 1, answer: 'c' is no choice. Give a letter from a to b."


@given(st.from_regex(r"-?[0-9]{1,15}", fullmatch=True))
def test_a_plain_number_is_taken_unchecked_since_every_one_verifies(answer: str) -> None:
    assert read_example({"question": "How many?", "answer": answer}, Kind.NUMERIC).answer == answer
    check_gold(Kind.NUMERIC, answer)


def test_extra_columns_are_judged_once_and_not_for_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(word: str, *rest: Any, **named: Any) -> list[str]:
        asked.append(word)
        return get_close_matches(word, *rest, **named)

    monkeypatch.setattr(row_fields, "get_close_matches", counted)
    columns = {f"feature_{number}": 0 for number in range(300)}
    for line in range(1, 51):
        read_example({"question": f"{line}?", "answer": "1", **columns}, Kind.NUMERIC, line=line)
    assert len(asked) == 300


def test_a_misspelt_field_is_named_where_the_field_is_missing_and_left_alone_where_it_is_there() -> None:
    with pytest.raises(BadRows, match="Write 'group' if that is meant"):
        read_example({"question": "1?", "answer": "1", "Groups": "a"}, Kind.NUMERIC)
    assert (
        read_example({"question": "1?", "answer": "1", "Groups": "a", "group": "b"}, Kind.NUMERIC).group
        == "b"
    )


def test_a_row_of_too_many_columns_is_refused() -> None:
    wide = {f"{number}": 0 for number in range(MAX_COLUMNS)}
    with pytest.raises(BadRows, match=f"It has {MAX_COLUMNS + 2} columns"):
        read_example({"question": "1?", "answer": "1", **wide}, Kind.NUMERIC)
