"""Guessing, the test against it, and what is said where there is no spark."""

from math import comb

import pytest

from star_engine.diagnostics.spark import (
    Guesses,
    binomial_tail,
    chance_level,
    lucky_share,
    spark_facts,
    upload_warnings,
)
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind


def counted(*rows: tuple[str, tuple[str, ...] | None]) -> Guesses:
    guesses = Guesses(Kind.CHOICE if rows[0][1] else Kind.EXACT)
    for answer, choices in rows:
        guesses.add(Example("", "", answer, choices))
    return guesses


def test_a_guess_is_one_of_the_texts_that_differ_or_the_most_common_answer() -> None:
    yes_no, den = ("yes", "no"), ("den", "Den ", "city", "desk")
    examples = [Example("x", "?", "a", yes_no), Example("y", "?", "b", den)]
    assert chance_level(Kind.CHOICE, examples) == pytest.approx(5 / 12)
    assert chance_level(Kind.CHOICE, []) == 0.0
    assert counted(("7", None), ("8", None), (" 7 ", None), ("9", None)).chance == 0.5
    common = Guesses(Kind.EXACT)
    common.add(Example("", "", "yes"), 3)
    common.add_rarer(7)
    assert common.chance == 0.3


@pytest.mark.parametrize(("correct", "n", "p"), [(3, 8, 0.2), (0, 5, 0.5), (5, 5, 0.5), (40, 100, 0.25)])
def test_the_tail_is_the_sum_of_the_binomial_probabilities(correct: int, n: int, p: float) -> None:
    exact = sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(correct, n + 1))
    assert binomial_tail(correct, n, p) == pytest.approx(exact)


def test_the_tail_holds_at_its_ends_and_for_many_examples() -> None:
    assert binomial_tail(0, 10, 0.3) == 1.0
    assert binomial_tail(1, 10, 0.0) == 0.0
    assert binomial_tail(10, 10, 1.0) == 1.0
    assert binomial_tail(20_000, 100_000, 0.2) == pytest.approx(0.5, abs=0.01)
    assert binomial_tail(21_000, 100_000, 0.2) < 1e-9


def test_a_baseline_that_guesses_gets_advice_and_one_that_knows_something_none() -> None:
    guessed = spark_facts(40, 200, 0.2, 0.2)
    assert guessed["spark"]["p_value"] > 0.5
    assert "40 of 200 held-out examples" in guessed["diagnosis"]
    assert "20.0 %" in guessed["diagnosis"]
    assert "diagnosis" not in spark_facts(60, 200, 0.2, 0.2)
    assert "diagnosis" not in spark_facts(40, 200, 0.2, None)
    assert "diagnosis" in spark_facts(0, 200, 0.001, 0.2)
    assert "diagnosis" not in spark_facts(1, 20, 0.001, 0.2)


def test_the_share_of_luck_to_expect_grows_with_the_chance_of_a_guess() -> None:
    assert lucky_share(1 / 2) == pytest.approx(1 / 3)
    assert lucky_share(1 / 5) == pytest.approx(1 / 6)
    assert (lucky_share(0.0), lucky_share(1.0)) == (0.0, 1.0)


def test_binary_questions_are_warned_of_with_the_share_of_luck_and_open_ones_are_not() -> None:
    [binary] = upload_warnings(counted(("a", ("yes", "no")), ("b", ("yes", "no"))))
    assert binary.startswith("Guessing among the choices is right on 50 % of the examples.")
    assert "expect 33 % to be lucky guesses" in binary
    [lopsided] = upload_warnings(counted(("yes", None), ("Yes", None), ("no", None)))
    assert lopsided.startswith("Saying 'yes' every time is right on 67 %")
    assert upload_warnings(counted(("a", ("p", "q", "r", "s", "t")))) == []
    assert upload_warnings(counted(*((str(n), None) for n in range(10)))) == []
    assert upload_warnings(Guesses(Kind.EXACT)) == []
