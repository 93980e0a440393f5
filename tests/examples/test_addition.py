"""The addition example: a base model that was taught nothing wrong, arms, tables."""

from __future__ import annotations

import random
import re
from collections import Counter
from datetime import UTC, datetime
from itertools import islice

import pytest

from examples.addition import outcome
from examples.addition.arms import (
    BUDGET,
    DIRECT,
    GOLD,
    KEPT_HINTS,
    PRESET,
    SAMPLED,
    STAR,
    WITHOUT,
    Budget,
    settings,
)
from examples.addition.compare import Found, TrainingSet
from examples.addition.documents import Mix, batches, draw_document
from examples.addition.generate import Addition, dataset_rows, work_out
from examples.addition.plot import claims, tables
from examples.addition.pretrain import BASES
from examples.addition.tokenizer import build_tokenizer
from examples.carry.pretrain import FORGETS_CARRY
from examples.pretraining import IGNORED, Rates
from star_client.objects import Iteration, Metrics

PROBLEM = re.compile(r"Input:\n(?P<question>[\d +]+)\nTarget:(?P<hint>[\d ]*)\n(?P<said>.+)", re.DOTALL)


def problems(mix: Mix, documents: int) -> list[tuple[Addition, str, str]]:
    """The additions of drawn documents, with their hint and what follows."""
    rng, found = random.Random(3), []
    for _ in range(documents):
        for problem in "".join(text for text, _ in draw_document(rng, mix, 400)).split("\n\n"):
            read = PROBLEM.fullmatch(problem)
            assert read is not None, problem
            left, right = (int(side.replace(" ", "")) for side in read["question"].split(" + "))
            found.append((Addition(left, right), read["hint"].strip(), read["said"]))
    return found


@pytest.mark.parametrize("number", BASES)
def test_every_document_of_a_base_is_right(number: int) -> None:
    for phase in BASES[number].curriculum:
        found = problems(phase.mix, 60)
        assert found
        for addition, hint, said in found:
            assert said in (addition.answer, "\n".join(work_out(addition)))
            assert hint in ("", addition.answer)


def test_the_carry_is_forgotten_only_where_a_mix_says_so() -> None:
    mix = Mix((0, 1, 0, 0), (1, 0, 0), forgets_carry=FORGETS_CARRY)
    wrong = [addition for addition, _, said in problems(mix, 60) if said != "\n".join(work_out(addition))]
    assert wrong


def test_digits_are_long_tailed_where_no_answer_is_shown_and_even_where_it_is() -> None:
    base = BASES[1]
    most = base.popularity.index(max(base.popularity))
    shares = {}
    for kind, weights in (("unhinted", (1, 0, 0)), ("hinted", (0, 1, 0))):
        drawn = problems(Mix((0, 0, 0, 1), weights, base.popularity), 60)
        digits = Counter(digit for addition, _, _ in drawn for digit in str(addition.right)[1:])
        shares[kind] = digits[str(most)] / digits.total()
    assert shares["unhinted"] > 0.4 > 0.2 > shares["hinted"]


def test_the_bases_differ_in_their_rarest_digits() -> None:
    first, second = (BASES[number].popularity for number in (1, 2))
    assert sorted(first) != sorted(second)
    assert first.index(max(first)) != second.index(max(second))


def test_batches_are_the_curriculums_and_learn_neither_operands_nor_hints() -> None:
    tokenizer = build_tokenizer(1024)
    ids, labels = next(islice(batches(0, tokenizer, BASES[1].curriculum), 1))
    assert ids.shape == labels.shape == (8, 128)
    text = tokenizer.decode(ids[0][labels[0] == IGNORED])
    assert set(text) <= set("0123456789 +")


def test_a_base_that_is_stopped_early_has_still_the_rates_of_its_whole_schedule() -> None:
    rates = Rates(900, stop_after=675, decay_share=0.55)
    assert rates.share(0) == pytest.approx(1 / 30)
    assert rates.share(300) == 1.0
    assert rates.share(674) == pytest.approx(226 / 495)


@pytest.mark.parametrize("arm", [SAMPLED, KEPT_HINTS, WITHOUT])
def test_an_arm_differs_in_what_it_is_named_for(arm: str) -> None:
    like = WITHOUT if arm == SAMPLED else STAR
    one, other = (settings(name, BUDGET, 0).model_dump(mode="json") for name in (arm, like))
    differ = {
        f"{section}.{name}"
        for section in one
        if isinstance(one[section], dict)
        for name in one[section]
        if one[section][name] != other[section][name]
    }
    expected = {
        SAMPLED: {"generation.temperature", "generation.samples_per_example"},
        KEPT_HINTS: {"rationalization.p_keep_hint", "evaluation.baselines"},
        WITHOUT: {"rationalization.enabled", "evaluation.baselines"},
    }
    assert differ == expected[arm]


@pytest.mark.parametrize("arm", [DIRECT, GOLD])
def test_what_trains_once_takes_the_steps_of_all_iterations(arm: str) -> None:
    budget = Budget(iterations=2, steps=30, questions=100)
    assert settings(arm, budget, 0).training.schedule.model_dump()["steps"] == 60
    assert settings(STAR, budget, 0).training.schedule.model_dump()["steps"] == 30


def test_every_arm_can_be_had() -> None:
    assert {settings(arm, BUDGET, 7).seed for arm in PRESET} == {7}


def test_solutions_are_the_working_of_train_rows_alone() -> None:
    rows = dataset_rows([(Addition(57, 68), "train"), (Addition(12, 34), "validation")], solutions=True)
    assert rows[0]["solution"] == "\n".join(work_out(Addition(57, 68)))
    assert "solution" not in rows[1]


def iteration(number: int, accuracy: float) -> Iteration:
    return Iteration(
        id="it_1",
        object="iteration",
        job="job_1",
        number=number,
        created_at=datetime.now(UTC),
        metrics=Metrics(accuracy=accuracy),
    )


def test_the_demo_says_which_claim_did_not_hold() -> None:
    held = {STAR: [iteration(1, 0.5), iteration(2, 0.4)], WITHOUT: [iteration(1, 0.3)]}
    assert list(outcome.claims(0.2, held)) == []
    [small] = outcome.claims(0.21, held)
    assert "19.0 points above few-shot" in small
    [level] = outcome.claims(0.2, held | {WITHOUT: [iteration(1, 0.41)]})
    assert "9.0 points above the same without" in level
    assert list(outcome.claims(0.2, {STAR: held[STAR]})) == []


def found(arm: str, *accuracy: float, seed: int = 0) -> Found:
    few_shot = {"few_shot_direct": 0.05, "few_shot_cot": 0.2} if arm == STAR else {}
    learned = TrainingSet(rows=10, pairs=64, true=9, hinted=4 if arm == STAR else 0, hinted_right=3)
    by_digits = tuple({"1": one, "2": one} for one in accuracy)
    return Found(1, arm, seed, few_shot, accuracy, by_digits, (learned,) * len(accuracy))


def test_a_claim_has_to_hold_against_sampling_as_well() -> None:
    arms = [found(STAR, 0.5, 0.6), found(WITHOUT, 0.3, 0.3), found(DIRECT, 0.4)]
    assert list(claims(arms)) == ["| 1 | 0 | +20.0 +30.0 | - | +40.0 | +20.0 | yes |"]
    [row] = claims([*arms, found(SAMPLED, 0.41, 0.42)])
    assert row == "| 1 | 0 | +20.0 +30.0 | +9.0 +18.0 | +40.0 | +20.0 | **no** |"


def test_the_tables_show_the_baselines_and_the_pairs() -> None:
    text = "\n".join(tables([found(STAR, 0.5, 0.6), found(WITHOUT, 0.3, 0.3), found(DIRECT, 0.4)]))
    assert "| 1 | base model, few shot cot | 0 | 20 |  |" in text
    assert "| 1 | with rationalization (STaR) | 0 | 50 60 | 60/60 |" in text
    assert "| 1 | with rationalization (STaR) | 0 | 10 10 | 64 64 | 9 9 | 3 of 4, 3 of 4 |" in text
    assert "| 1 | direct fine-tuning | 0 | 10 | 64 | - | - |" in text
