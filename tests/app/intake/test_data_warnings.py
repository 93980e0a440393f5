"""What an upload warns of although it is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.app.api_harness import Api

LONG = "one two three four five six seven eight nine ten eleven {}"


def warnings(api: Api, rows: list[dict[str, Any]], kind: str = "numeric", **query: Any) -> list[str]:
    sent = "".join(json.dumps(row) + "\n" for row in rows)
    found: list[str] = api.dataset(sent, kind=kind, **{"validation": 0, **query})["warnings"]
    return found


def one_letter(count: int, others: int) -> list[dict[str, Any]]:
    return [
        {"question": f"Item {n}?", "choices": [f"x{n}", f"y{n}"], "answer": "ab"[n < others]}
        for n in range(count)
    ]


def test_a_held_out_question_in_nearly_the_same_words_warns(api: Api) -> None:
    rows = [
        {"question": LONG.format("apples are there?"), "answer": "3"},
        {"question": LONG.format("pears, then?"), "answer": "4", "split": "test"},
    ]
    [warning] = [text for text in warnings(api, rows) if "phrases" in text]
    assert warning.startswith("1 of 1 held-out questions share half of their phrases of 8 words")


def test_overlap_that_was_allowed_warns(api: Api) -> None:
    rows = [{"question": "Legs?", "answer": "2"}, {"question": "legs?", "answer": "2", "split": "test"}]
    found = warnings(api, rows, allow_overlap=True)
    assert any(text.startswith("The questions of 1 held-out examples are trained on") for text in found)


def test_rows_that_contradict_each_other_warn_with_the_first_of_them(api: Api) -> None:
    rows = [
        {"id": "hen", "question": "How many legs?", "answer": "2"},
        {"id": "cow", "question": "How many legs?", "answer": "4"},
    ]
    [warning] = [text for text in warnings(api, rows) if "answers differ" in text]
    assert warning.startswith("1 questions have several rows whose answers differ, such as 'hen'")
    assert "no text is right for all" in warning


def test_rows_that_repeat_each_other_with_the_same_answer_do_not_warn(api: Api) -> None:
    rows = [{"question": "How many legs?", "answer": "2"}] * 2
    assert not [text for text in warnings(api, rows) if "answers differ" in text]


def test_gold_answers_that_are_nearly_all_one_letter_warn(api: Api) -> None:
    [warning] = [text for text in warnings(api, one_letter(20, 2), "choice") if "letter" in text]
    assert warning.startswith("The right choice is (a) in 90 % of the examples")


def test_gold_answers_at_several_letters_do_not_warn(api: Api) -> None:
    assert not [text for text in warnings(api, one_letter(20, 3), "choice") if "letter" in text]


@pytest.mark.parametrize(
    ("answers", "better"),
    [
        (["1,000", "7", "0.5", "3/4"], "numeric"),
        (["2024-03-05", "March 5, 2024", "5 March 2024", "05/03/2024"], "date"),
        (["\\frac{1}{2}", "2\\sqrt{3}", "\\pi", "$\\frac{x}{2}$"], "math"),
    ],
)
def test_exact_answers_that_another_kind_reads_better_warn(api: Api, answers: list[str], better: str) -> None:
    rows = [{"question": f"Item {answer}?", "answer": answer} for answer in answers]
    [warning] = [text for text in warnings(api, rows, "exact") if "of the answers" in text]
    assert f"upload them as {better}" in warning


def test_exact_answers_that_are_texts_do_not_warn(api: Api) -> None:
    rows = [{"question": f"Item {answer}?", "answer": answer} for answer in ("Paris", "yes", "7", "the sea")]
    assert not [text for text in warnings(api, rows, "exact") if "of the answers" in text]


def test_fewer_held_out_rows_than_asked_for_are_told(api: Api) -> None:
    rows = [{"question": f"What is {number} plus 1?", "answer": str(number + 1)} for number in range(20)]
    [warning] = [text for text in warnings(api, rows, validation=20) if "held out" in text]
    assert warning.startswith("20 rows were to be held out (validation=20), and 10 are")
    assert not [text for text in warnings(api, rows, validation=10) if "held out" in text]


def test_asking_to_hold_out_rows_where_rows_are_marked_is_told(api: Api) -> None:
    rows = [{"question": f"What is {number} plus 1?", "answer": str(number + 1)} for number in range(20)]
    rows[0]["split"] = "validation"
    [warning] = [text for text in warnings(api, rows, validation=5) if "held out" in text]
    assert "and 1 are" in warning
