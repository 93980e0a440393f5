"""Iterative RPO on the addition model: one budget for every arm, and a page of what came out."""

from __future__ import annotations

from examples.carry.iterative_rpo import ARMS, DPO, RPO, STAR, TEXTS, Found, page, settings


def test_arms_have_one_budget_of_tries_steps_and_texts() -> None:
    for arm in ARMS:
        config = settings(arm, 0, 15)
        texts = config.training.batch_size * (2 if config.preference else 1)
        assert (texts, config.training.batch_tokens) == (TEXTS, None)
        assert config.training.schedule.model_dump() == {"kind": "fixed", "steps": 15}
        assert config.training.start_from == "previous"
        assert config.generation == settings(STAR, 0, 15).generation
        assert config.rationalization.enabled == (arm == STAR)


def test_one_arm_leaves_out_the_likelihood_of_the_right_text() -> None:
    with_it, without = settings(RPO, 0, 15).preference, settings(DPO, 0, 15).preference
    assert with_it is not None
    assert without == with_it.model_copy(update={"nll": 0.0})


def test_the_page_has_every_arm_and_its_distance_from_iterative_rpo() -> None:
    found = [
        Found(arm, seed, steps, (0.3, last), (0.2,), (0.9,), (12,), 1000)
        for steps in (15, 5)
        for seed in (0, 1)
        for arm, last in zip(ARMS, (0.9, 0.8, 0.7, 0.1), strict=True)
    ]
    text = "\n".join(page(found, 60.0, "command"))
    assert text.count("| rationalization | 0 | 30 90 | 20 | 90 | 12 | 1,000 |") == 2
    assert "| DPO alone | 30 10 | 1,000 |" in text
    assert "iterative RPO against expert iteration, last accuracy in points by seed: -10.0, -10.0." in text
