"""Rows on their way to the database, as lines that PostgreSQL reads itself."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.intake.lines import COLUMNS, fields_of, line_of, question_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NASTY = st.sampled_from(["\\N", "\\.", "a\tb", "a\nb", "a\r\nb", "\\\\n", "\u2028", "\x85", ""])
TEXT = TEXTS | NASTY
ROWS = st.fixed_dictionaries(
    {
        "split": st.sampled_from(["train", "test"]),
        "position": st.integers(0, 10**7),
        "external_id": TEXT,
        "question": TEXT,
        "answer": TEXT,
        "choices": st.none() | st.lists(TEXT, max_size=3),
        "group": st.none() | TEXT,
        "solution": st.none() | TEXT,
        "context": st.none() | st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=2),
    }
)


@given(ROWS)
def test_a_row_comes_back_from_its_line_as_it_went_in(row: dict[str, Any]) -> None:
    line = line_of(row)
    found = dict(zip(COLUMNS, fields_of(line), strict=True))
    assert found.pop("position") == str(row["position"])
    for name in ("choices", "context"):
        listed = found.pop(name)
        assert (None if listed is None else json.loads(listed)) == row[name]
    assert found == {name: row[name] for name in found}


@given(ROWS)
def test_the_question_is_found_before_the_row_has_its_place(row: dict[str, Any]) -> None:
    tail = line_of(row).decode().removesuffix("\n").split("\t", 2)[2]
    before = [text for pair in row["context"] or () for text in pair]
    assert question_of(tail) == " ".join([*before, row["question"]])


@given(ROWS)
def test_a_line_has_one_line_break_and_it_ends_it(row: dict[str, Any]) -> None:
    line = line_of(row)
    assert line.index(b"\n") == len(line) - 1
    assert b"\r" not in line
