"""The filter hint_markers on labelled rationales, half of them set aside while its wordings were written.

`hint_rationales_*.jsonl` hold texts that were shown a hint, labelled by what a reader of the training row
would see: a leak speaks of a given, marked or expected answer, or works back from it.
"""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_engine.filters.filter_input import FilterInput
from star_engine.filters.hint_markers import hint_markers
from star_engine.filters.hint_talk import hint_talk


def _labelled(name: str) -> list[dict[str, Any]]:
    path = Path(__file__).with_name(f"hint_rationales_{name}.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def _item(row: dict[str, Any]) -> FilterInput:
    hint = {"choice": "(CORRECT)", "scratchpad": row["answer"]}.get(row["kind"], f"({row['answer']})")
    choices = tuple(row["choices"]) if "choices" in row else None
    return FilterInput(
        row["question"], row["answer"], choices, row["kind"], "rationalized", row["rationale"], hint
    )


@pytest.mark.parametrize("name", ["tuned_on", "set_aside"])
def test_leaks_are_found_and_honest_texts_pass(name: str) -> None:
    """First measured on the set-aside half: precision 0.97, recall 0.99; the filter before had 0.73, 0.15."""
    rows = _labelled(name)
    judged = Counter((row["label"], hint_markers(_item(row)) is not None) for row in rows)
    right, missed, alarms = judged["leak", True], judged["leak", False], judged["honest", True]
    assert len(rows) >= 150
    assert right / (right + alarms) >= 0.95
    assert right / (right + missed) >= 0.95


def test_a_text_that_was_shown_no_hint_is_never_dropped_for_one() -> None:
    for row in _labelled("tuned_on"):
        assert hint_markers(replace(_item(row), route="generated")) is None


def test_the_sentence_that_gives_the_hint_away_is_named() -> None:
    text = "Half of 48 is 24. To arrive at the given answer, add 48 and 24.\n#### 72"
    item = FilterInput("How many clips?", "72", None, "numeric", "rationalized", text, "(72)")
    assert hint_talk(item) == "To arrive at the given answer, add 48 and 24."


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("A jacket is marked $68. What is its price?", "The marked price is 68."),
        (
            "Each of 3 teams gets a hint. How many hints are there?",
            "There are 3 teams, each with a hint, so 3.",
        ),
        ("What is the expected value of a coin that pays 2 or 0?", "The expected value is 2 / 2 = 1."),
    ],
)
def test_words_of_the_question_say_nothing_about_a_hint(question: str, text: str) -> None:
    answer = next(word.strip(".") for word in reversed(text.split()) if word.strip(".").isdigit())
    assert hint_talk(FilterInput(question, answer, None, "numeric", "rationalized", text)) is None


def test_every_human_solution_of_gsm8k_passes() -> None:
    """All 7,473, as if they had been shown their answers."""
    folder = os.environ.get("STAR_TEST_DATA")
    if not folder:
        pytest.skip("STAR_TEST_DATA does not name the folder with gsm8k_train.jsonl")
    rejected = []
    for line in (Path(folder) / "gsm8k_train.jsonl").read_text().splitlines():
        row = json.loads(line)
        answer = row["answer"].split("####")[1].strip()
        item = FilterInput(
            row["question"], answer, None, "numeric", "rationalized", row["answer"], f"({answer})"
        )
        if hint_markers(item):
            rejected.append((hint_talk(item), row["answer"]))
    assert rejected == []
