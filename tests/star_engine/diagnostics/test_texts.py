"""Diversity, length and likeness of rationales, on texts whose numbers can be counted by hand."""

import math
from dataclasses import replace

import pytest

from star_engine.diagnostics.texts import diversity, few_shot_similarity, length, style
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind


def tried(name: str, text: str, sample: int = 0, tokens: int = 4) -> Rationale:
    key = RationaleKey(name, Route.GENERATED, sample)
    return Rationale(key, text, "correct", None, "", 1, tokens, "stop")


def test_distinct_ngrams_fall_where_texts_repeat_each_other() -> None:
    same = [tried("x", "a b c d"), tried("y", "a b c d")]
    assert diversity(same, same)["distinct_1"] == 0.5
    assert diversity(same, same)["distinct_3"] == 0.5
    other = [tried("x", "a b c d"), tried("y", "e f g h")]
    assert diversity(other, other)["distinct_2"] == 1.0
    assert diversity([], [])["distinct_1"] is None


def test_solutions_are_unique_per_example_and_case_does_not_make_another() -> None:
    correct = [tried("x", "a b"), tried("x", "A  b", 1), tried("x", "c", 2), tried("y", "a b")]
    assert diversity(correct, correct)["solutions_per_example"] == 1.5
    assert diversity([], [])["solutions_per_example"] is None


def test_length_drifts_against_the_iteration_before() -> None:
    kept = [tried("x", "", tokens=10), tried("y", "", tokens=20), tried("z", "", tokens=60)]
    assert length(kept, None) == {"mean": 30.0, "median": 20.0, "drift": None}
    assert length(kept, 20.0)["drift"] == 0.5
    assert length([], 20.0) == {"mean": None, "median": None, "drift": None}


def test_style_is_the_shares_of_words_and_marks_with_every_number_alike() -> None:
    found = style([tried("x", "So 12 + 3\n", tokens=10), tried("y", "so 7 + 85\n", tokens=20)], None)
    assert found["common"] == {"0": 0.4, "\n": 0.2, "+": 0.2, "so": 0.2}
    assert (found["tries"], found["mean"], found["length_drift"], found["drift"]) == (2, 15.0, None, None)


def test_style_drifts_in_bits_against_the_iteration_before() -> None:
    first = style([tried("x", "so it is", tokens=10)], None)
    same = style([tried("x", "is it so", tokens=8)], first)
    assert (same["drift"], same["length_drift"]) == (0.0, -0.2)
    assert style([tried("x", "thus we have")], first)["drift"] == pytest.approx(1.0, abs=1e-5)
    half = style([tried("x", "so it goes on and on")], style([tried("x", "so it")], None))
    # p: 1/2 each of so and it; q: 1/6 each of so, it, goes, and, 2/6 of on
    p_part = 2 * 0.5 * math.log2(0.5 / (1 / 3))
    q_part = 2 / 6 * math.log2((1 / 6) / (1 / 3)) + 4 / 6 * 1
    assert half["drift"] == pytest.approx((p_part + q_part) / 2, abs=1e-4)


def test_tries_that_were_cut_off_have_no_style() -> None:
    cut = replace(tried("x", "on and on"), finish_reason="length")
    assert style([cut], None) == {"tries": 0}
    assert style([tried("x", "so")], {"tries": 0})["drift"] is None


def test_likeness_is_to_the_few_shot_examples_that_the_example_was_shown() -> None:
    shown = FewShotExample("?", "one two three four five", "5", group="1")
    other = FewShotExample("?", "six seven eight nine ten", "10", group="2")
    prompt_set = PromptSet(Kind.NUMERIC, (shown, other))
    examples = {name: Example(name, "?", "5", group="1") for name in "xy"}
    copied, own = tried("x", "one two three four five"), tried("y", "six seven eight nine ten")
    assert few_shot_similarity(prompt_set, examples, [copied]) == 1.0
    assert few_shot_similarity(prompt_set, examples, [own]) == 0.0
    assert few_shot_similarity(prompt_set, examples, [copied, own]) == 0.5
    assert few_shot_similarity(prompt_set, examples, []) is None
