"""N-grams of words: the same whatever the case, the punctuation and the alphabet beside them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from star_engine.data.overlap import (
    NGRAM,
    ngram_hashes,
    seen_hashes,
    share_seen,
    trained_on,
    without_few_shot,
)
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind

LONG = "Nine apples and ten pears lie in a bowl"
ASCII = st.text(st.characters(max_codepoint=127), max_size=60)


@given(ASCII)
def test_words_of_ascii_are_those_that_any_text_has(text: str) -> None:
    words = re.findall(r"\w+", text.casefold())
    padding = "x " * NGRAM
    of_words = ngram_hashes(f"{' '.join(words)} {padding}")
    assert ngram_hashes(f"{text} {padding}") == of_words
    assert ngram_hashes(f"{text} {padding}\N{EM DASH}") == of_words


def test_the_share_of_a_question_counts_what_stands_in_others() -> None:
    seen = seen_hashes(ngram_hashes(LONG), [f"{LONG.upper().removesuffix(' BOWL')}, a «basket»."])
    assert share_seen(LONG, seen) == 0.5
    assert share_seen("too short", seen) is None


def test_held_out_questions_that_are_trained_on_come_with_the_first_that_asks_the_same() -> None:
    train = [Example("a", "One  more?", "1"), Example("b", "one more?", "1"), Example("c", "Other?", "1")]
    held_out = [Example("x", "ONE MORE?", "1"), Example("y", "New?", "1"), Example("z", "One more?", "2")]
    assert [(held.id, same.id) for held, same in trained_on(held_out, train)] == [("x", "a"), ("z", "a")]


def test_the_same_words_with_other_choices_ask_something_else() -> None:
    train = [Example("a", "Which?", "a", ("cat", "dog"))]
    assert list(trained_on([Example("x", "Which?", "a", ("cow", "dog"))], train)) == []
    assert len(list(trained_on([Example("x", "Which?", "a", ("Dog", "cat"))], train))) == 1


def test_few_shot_examples_are_left_out_of_the_held_out_ones() -> None:
    shown = PromptSet(Kind.NUMERIC, (FewShotExample("How  many?", "#### 2", "2"),))
    held_out = [Example("x", "how many?", "2"), Example("y", "How many more?", "3")]
    assert [one.id for one in without_few_shot(shown, held_out)] == ["y"]
