"""Guessing, the test against it, and what is said where there is no spark."""

from math import comb
from typing import Any

import pytest

from star_engine.config.star import Audits, StarConfig
from star_engine.diagnostics.spark import (
    Answered,
    Guesses,
    binomial_tail,
    chance_level,
    lucky_share,
    spark_facts,
    spark_mode,
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
    assert counted(("7", None), ("8", None), (" 7 ", None), ("9", None)).share == 0.5
    common = Guesses(Kind.EXACT)
    common.add(Example("", "", "yes"), 3)
    common.add_rarer(7)
    assert (common.share, common.chance) == (0.3, 0.2)


def test_chance_of_open_answers_leaves_out_the_row_that_made_one_the_most_common() -> None:
    """Two equal answers among twenty are no 10 % of chance; a majority among a hundred stays one."""
    pair = Guesses(Kind.EXACT)
    pair.add(Example("", "", "5"), 2)
    pair.add_rarer(18)
    assert pair.chance == 0.05
    assert counted(*((str(n), None) for n in range(20))).chance == 0.05
    yes = Guesses(Kind.EXACT)
    yes.add(Example("", "", "yes"), 62)
    yes.add_rarer(38)
    assert yes.chance == 0.61


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


def facts(correct: int, n: int, chance: float, **changes: Any) -> dict[str, Any]:
    """Of a baseline with rationales that answers all n questions, right or wrong."""
    config = StarConfig(kind=changes.pop("kind", Kind.NUMERIC), audits=Audits(**changes))
    return spark_facts("few_shot_cot", {"correct": correct, "wrong": n - correct, "n": n}, chance, config)


def test_a_baseline_that_guesses_gets_advice_and_one_that_knows_something_none() -> None:
    guessed = facts(40, 200, 0.2)
    assert guessed["spark"]["p_value"] > 0.5
    assert "40 of 200 held-out examples" in guessed["diagnosis"]
    assert "20.0 %" in guessed["diagnosis"]
    assert "diagnosis" not in facts(60, 200, 0.2)
    assert "diagnosis" not in facts(40, 200, 0.2, spark_level=None)
    assert "diagnosis" in facts(0, 200, 0.001)
    assert "diagnosis" not in facts(1, 20, 0.001)


def test_a_job_that_samples_is_told_that_its_baseline_was_greedy() -> None:
    tally = {"correct": 0, "wrong": 200, "n": 200}
    said = []
    for generation in ({}, {"temperature": 0.7, "samples_per_example": 16}):
        asked = StarConfig.model_validate({"kind": Kind.NUMERIC, "generation": generation})
        said.append(spark_facts("few_shot_cot", tally, 0.1, asked)["diagnosis"])
    assert "greedy" not in said[0]
    assert "samples 16 tries at temperature 0.7" in said[1]
    assert "a probe of the same settings" in said[1]


def test_three_right_of_twenty_open_answers_are_a_spark_and_none_is_not() -> None:
    chance = counted(*((str(n % 19), None) for n in range(20))).chance
    assert "diagnosis" not in facts(3, 20, chance)
    assert "diagnosis" in facts(0, 20, chance)


def test_among_choices_only_answers_that_could_be_read_are_held_against_chance() -> None:
    """6 right, 10 wrong and 18 ambiguous among five choices: 6 of 16 beat a fifth, though 6 of 34 do not."""
    tally = {"correct": 6, "wrong": 10, "n": 34}
    choice = spark_facts("few_shot_cot", tally, 0.2, StarConfig(kind=Kind.CHOICE))
    assert choice["spark"]["judged"] == 16
    assert choice["spark"]["p_value"] == round(binomial_tail(6, 16, 0.2), 6)
    assert "diagnosis" not in choice
    assert "diagnosis" in spark_facts(
        "few_shot_cot", {**tally, "wrong": 28}, 0.2, StarConfig(kind=Kind.CHOICE)
    )


def test_the_spark_is_asked_of_the_baseline_that_reasons() -> None:
    assert spark_mode(["few_shot_direct", "few_shot_cot"]) == "few_shot_cot"
    assert spark_mode(["few_shot_direct"]) == "few_shot_direct"


def test_a_diagnosis_shows_three_answers_with_their_verdicts() -> None:
    failed = [
        Answered(f"How many are {n}?", str(n), f"Well,\n{'so ' * 60}it is {n + 1}", "wrong") for n in range(5)
    ]
    tally = {"correct": 0, "wrong": 20, "n": 20}
    said = spark_facts("few_shot_cot", tally, 0.05, StarConfig(kind=Kind.NUMERIC), failed)["diagnosis"]
    assert "to 'How many are 2?' it said '... " in said
    assert "so it is 3' (wrong; right: '2')" in said
    assert "How many are 3?" not in said


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
