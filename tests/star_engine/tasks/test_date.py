"""Calendar dates, and those that can be read in two ways."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.tasks.verify import canonical_answer, check_gold, verify, verify_direct


@pytest.mark.parametrize(
    "written",
    ["2024-03-05", "2024/3/5", "March 5, 2024", "Mar. 5th 2024", "5 March 2024", "the 5th of March, 2024"],
)
def test_a_date_is_the_same_however_it_is_written(written: str) -> None:
    assert canonical_answer("date", written) == "2024-03-05"
    assert verify("date", f"The answer is {written}.", "2024-03-05").is_correct
    assert verify_direct("date", written, "2024-03-05").is_correct


@pytest.mark.parametrize(
    ("written", "order", "verdict"),
    [
        ("03/05/2024", None, "unparsed"),
        ("03/05/2024", "month_first", "correct"),
        ("05/03/2024", "day_first", "correct"),
        ("03/05/2024", "day_first", "wrong"),
        ("04/04/2024", None, "wrong"),  # the 4th of April, whichever comes first
    ],
)
def test_day_and_month_are_told_apart_only_where_they_can_be(
    written: str, order: str | None, verdict: str
) -> None:
    options = {"date_order": order} if order else {}
    assert verify("date", f"#### {written}", "2024-03-05", **options).verdict == verdict


@pytest.mark.parametrize("answer", ["03/05/2024", "March 2024", "February 30, 2024", "5.3.24", "soon"])
def test_a_gold_answer_that_is_not_one_date_is_refused_with_the_fix(answer: str) -> None:
    with pytest.raises(ValueError, match="write it like 2024-03-05"):
        check_gold("date", answer)


@given(st.dates(min_value=date(1000, 1, 1)))
def test_every_date_survives_its_canonical_form(day: date) -> None:
    canonical = canonical_answer("date", f"{day:%B} {day.day}, {day.year}")
    assert canonical == day.isoformat() == canonical_answer("date", canonical)
