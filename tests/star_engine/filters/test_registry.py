"""The stages between correct and kept: order, names, duplicates and cap."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.filters.registry import (
    FILTERS,
    FilterInput,
    cap_per_example,
    dedupe,
    dedupe_key,
    filters_named,
    first_rejection,
)

ITEM = FilterInput(
    question="What does a bird build to lay its eggs in?",
    answer="b",
    choices=("cave", "nest", "burrow"),
    kind="choice",
    route="rationalized",
    completion="The choice marked (CORRECT) is nest. Therefore, the answer is nest (b).",
    hint="(CORRECT)",
)
ROWS = st.lists(st.tuples(st.integers(), st.sampled_from("xyz"), st.sampled_from(["a b", "A  b", "c", ""])))


def test_the_first_filter_that_rejects_gives_the_reason() -> None:
    assert first_rejection(filters_named(["hint_markers", "answer_only"]), ITEM) == "hint_markers"
    assert first_rejection(filters_named(["answer_only", "hint_markers"]), ITEM) == "answer_only"
    assert first_rejection(filters_named(["step_arithmetic"]), ITEM) is None
    assert first_rejection([], ITEM) is None


def test_an_unknown_filter_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"no filter 'judge'; use some of hint_markers, answer_only"):
        filters_named(["hint_markers", "judge"])
    assert filters_named(FILTERS) == list(FILTERS.values())


def test_the_same_text_is_a_duplicate_only_within_one_example() -> None:
    rows = [
        (1, "x", "Half is 24."),
        (2, "x", "half  is 24.\n"),
        (3, "y", "Half is 24."),
        (4, "x", "Half is 25."),
    ]
    assert dedupe(rows) == [2]
    assert dedupe_key("Half is 24.") == dedupe_key(" HALF is 24. ") != dedupe_key("Half is 25.")
    assert len(dedupe_key("\ud800")) == 64


def test_the_cap_keeps_the_first_rationales_of_each_example() -> None:
    assert cap_per_example([(1, "x"), (2, "y"), (3, "x"), (4, "x")], 2) == [4]
    assert cap_per_example([(1, "x"), (2, "y"), (3, "x"), (4, "x")], 1) == [3, 4]
    with pytest.raises(ValueError, match="use 1 or more"):
        cap_per_example([], 0)


@given(ROWS)
def test_deduplication_leaves_each_text_of_an_example_exactly_once(rows: list[tuple[int, str, str]]) -> None:
    numbered = [(n, example, text) for n, (_, example, text) in enumerate(rows)]
    dropped = set(dedupe(numbered))
    kept = [(example, dedupe_key(text)) for key, example, text in numbered if key not in dropped]
    assert len(kept) == len(set(kept))
    assert set(kept) == {(example, dedupe_key(text)) for _, example, text in numbered}


@given(ROWS, st.integers(1, 4))
def test_the_cap_leaves_the_smaller_of_cap_and_what_there_was(
    rows: list[tuple[int, str, str]], n: int
) -> None:
    numbered = [(key, example) for key, (_, example, _) in enumerate(rows)]
    dropped = set(cap_per_example(numbered, n))
    before = Counter(example for _, example in numbered)
    after = Counter(example for key, example in numbered if key not in dropped)
    assert after == {example: min(count, n) for example, count in before.items()}


@given(st.text(max_size=80), st.sampled_from(["numeric", "choice", "scratchpad", "exact", "math", "pattern"]))
def test_no_text_breaks_a_filter(text: str, kind: str) -> None:
    answer = {"choice": "b", "scratchpad": "8 8 3"}.get(kind, "72")
    choices = ("cave", "nest") if kind == "choice" else None
    item = FilterInput(text, answer, choices, kind, "rationalized", text, f"({answer})", (text[::-1],))
    for name, one in FILTERS.items():
        assert one(item) in (None, name)
