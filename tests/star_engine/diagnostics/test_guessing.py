"""Luck among what is kept: from the number of choices or the distribution of answers."""

import random

import pytest

from star_engine.diagnostics.guessing import guess_rates, luck, solved_again
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind


def asked(name: str, answer: str = "a", choices: tuple[str, ...] | None = None) -> Example:
    return Example(name, f"What is {name}?", answer, choices)


def tried(name: str, verdict: str, route: Route = Route.GENERATED, sample: int = 0) -> Rationale:
    return Rationale(RationaleKey(name, route, sample), "", verdict, None, "", 1, 1, "stop")


def test_a_guess_is_one_of_the_texts_that_differ_or_the_most_common_answer() -> None:
    choices = [asked("x", "a", ("yes", "no")), asked("y", "b", ("den", "Den ", "city", "desk"))]
    assert guess_rates(Kind.CHOICE, choices) == {"x": 1 / 2, "y": 1 / 3}
    answers = [asked(name, answer) for name, answer in zip("pqrs", ["7", "8", "7 ", "9"], strict=True)]
    assert set(guess_rates(Kind.NUMERIC, answers).values()) == {
        1 / 4
    }  # two of four, less the row that makes it two


def test_a_model_that_only_guesses_is_expected_to_keep_nothing_but_luck() -> None:
    """2,000 coins: as many wrong as right, so that all that is right is expected to be luck."""
    drawn = random.Random(3)
    examples = [asked(str(n), "a", ("yes", "no")) for n in range(2000)]
    tries = [tried(e.id, "correct" if drawn.random() < 0.5 else "wrong") for e in examples]
    found = luck(Kind.CHOICE, examples, tries, {one.key for one in tries if one.verdict == "correct"})
    assert found.chance == 0.5
    assert found.precision is not None
    assert found.precision < 0.08


def test_a_model_that_knows_half_and_guesses_the_rest_among_five_is_seen_through() -> None:
    """500 known, 500 guessed with 100 hits and 400 misses: 100 of the 600 kept are luck."""
    examples = [asked(str(n), "a", ("p", "q", "r", "s", "t")) for n in range(1000)]
    tries = [tried(str(n), "correct" if n < 600 else "wrong") for n in range(1000)]
    half = {one.key for one in tries[:600:2]}
    assert luck(
        Kind.CHOICE, examples, tries, {one.key for one in tries[:600]}
    ).expected_lucky == pytest.approx(100)
    assert luck(Kind.CHOICE, examples, tries, half).expected_lucky == pytest.approx(50)
    assert luck(Kind.CHOICE, examples, tries, half).precision == pytest.approx(5 / 6, abs=1e-6)


def test_a_run_below_chance_is_luck_although_most_of_its_texts_have_no_answer() -> None:
    """CommonsenseQA, iteration 1: 8 of 64 right among five choices, most of the others ambiguous."""
    examples = [asked(str(n), "a", ("p", "q", "r", "s", "t")) for n in range(64)]
    verdicts = ["correct"] * 8 + ["wrong"] * 14 + ["ambiguous"] * 30 + ["unparsed"] * 12
    tries = [tried(str(n), verdict) for n, verdict in enumerate(verdicts)]
    found = luck(Kind.CHOICE, examples, tries, {one.key for one in tries[:8]})
    assert (found.kept, found.expected_lucky, found.precision) == (8, 8.0, 0.0)


def test_the_rationalized_say_nothing_about_luck() -> None:
    examples = [asked(name, "a", ("yes", "no")) for name in "xy"]
    tries = [tried("x", "correct"), tried("y", "wrong", Route.RATIONALIZED)]
    found = luck(Kind.CHOICE, examples, tries, {tries[0].key})
    assert (found.kept, found.expected_lucky, found.precision) == (1, 0.0, 1.0)
    assert luck(Kind.CHOICE, examples, tries, set()).precision is None


def test_the_yield_of_rationalization_counts_examples_asked_again_without_the_hint() -> None:
    tries = [
        tried("x", "wrong"),
        tried("x", "correct", sample=1),
        tried("y", "wrong"),
        tried("y", "correct", Route.RATIONALIZED),
        tried("z", "correct"),
    ]
    assert solved_again({"x", "y", "gone"}, tries) == {"taught": 3, "asked": 2, "solved": 1, "share": 0.5}
    assert solved_again((), tries) == {"taught": 0, "asked": 0, "solved": 0, "share": None}
