"""OPSD on the addition model: one budget for every arm, and what counts as the layout of an addition."""

from __future__ import annotations

from examples.addition.generate import Addition, work_out
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
