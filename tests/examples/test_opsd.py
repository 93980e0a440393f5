"""OPSD on the addition model: one budget for every arm, and what counts as the layout of an addition."""

from __future__ import annotations

import random

from examples.addition.documents import Layout, Mix
from examples.addition.generate import Addition, work_out, work_towards
from examples.carry.opsd import ARMS, OPSD, STAR, WRONG, Found, Model, model_of, page, settings
from star_engine.evaluation.accuracy import EvaluatedAnswer


def answer(text: str, verdict: str) -> EvaluatedAnswer:
    return EvaluatedAnswer("e", "2", text, verdict, None, "last", 9, 20, "stop")


def test_arms_have_one_budget_of_tries_steps_and_texts() -> None:
    for arm in ARMS:
        config, star = settings(arm, 0), settings(STAR, 0)
        assert config.generation == star.generation
        assert config.training == star.training
        assert config.rationalization.enabled == (arm == STAR)
        assert (config.self_distillation is not None) == (arm in (OPSD, WRONG))


def test_a_text_is_laid_out_as_worked_if_its_digits_alone_differ() -> None:
    right, forgotten = (work_out(Addition(57, 68), forget_carry=forget) for forget in (False, True))
    kept = [answer("\n".join(parts), "correct") for parts in (right, forgotten)]
    drifted = answer("\n".join(right).replace(" , ", " "), "unparsed")
    model = model_of([*kept, drifted, drifted])
    assert (model.laid_out, model.unparsed, model.accuracy) == (0.5, 0.5, 0.5)


def test_the_page_has_every_arm_and_its_distance_from_opsd() -> None:
    found = [
        Found(arm, 0, (Model(0.3, 50.0, 1.0, 0.0), Model(last, 48.5, 0.9, 0.02)), (49.0,), 2000, 900)
        for arm, last in zip(ARMS, (0.9, 0.5, 0.8, 0.35), strict=True)
    ]
    text = "\n".join(page(found, {"no answer": 0.25, "its own": 1.0}, 60.0, "command"))
    assert "| OPSD | 0 | 30 80 | 50.0 48.5 | 100 90 | 0 2 |" in text
    assert "OPSD against rationalization, last accuracy in points by seed: -10.0." in text
    assert "right with no answer in view 25 %, its own in view 100 %." in text
    assert "OPSD, wrong hint against the base model: +5.0." in text


def test_a_working_towards_a_hint_has_its_digits_and_is_laid_out_as_any_other() -> None:
    addition = Addition(57, 68)
    assert work_towards(addition, "1 2 5") == work_out(addition)[0]
    wrong = work_towards(addition, "9 3")
    assert wrong.splitlines()[2:] == ["5 + 6 , 3 C: 1", ", 9 3 C: 0", "0 9 3", "</scratch>"]
    assert work_towards(Addition(12, 13), "1 4 7").splitlines()[-2] == "1 4 7"  # a place more than its own


def test_documents_that_follow_hints_copy_them_and_none_does_without_the_setting() -> None:
    for said in (*_documents(0.0), *_documents(0.5)):
        assert said[3][0].strip() == said[4][0].splitlines()[-1]  # the hint, and what the working ends with
    right = [sum(_is_right(said) for said in _documents(follows)) for follows in (0.0, 0.5, 1.0)]
    assert right[0] == 60
    assert 15 < right[1] < 45
    assert right[2] < 3


def _documents(follows: float) -> list[list[tuple[str, bool]]]:
    layout, rng = Layout(3, "hinted", Mix((0, 0, 1, 0), (0, 1, 0), follows_hints=follows)), random.Random(5)
    return [layout.pieces(rng) for _ in range(60)]


def _is_right(said: list[tuple[str, bool]]) -> bool:
    left, right = (int(number.replace(" ", "")) for number in said[1][0].split(" + "))
    return said[3][0].strip() == Addition(left, right).answer
