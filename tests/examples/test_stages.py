"""The stage-wise climb: one budget for the arms that loop, and when a digit count counts as learned."""

from __future__ import annotations

from examples.carry.stages import ARMS, DIRECT, WITH, WITHOUT, Found, page, settings

CLIMB = (
    {"1": 1.0, "2": 1.0, "3": 0.2, "4": 0.1},
    {"1": 1.0, "2": 1.0, "3": 0.6, "4": 0.1},
    {"1": 1.0, "2": 1.0, "3": 0.9, "4": 0.4},
)


def test_arms_differ_in_the_hint_or_the_tries_alone() -> None:
    for arm in set(ARMS) - {DIRECT}:
        config, plain = settings(arm, 0), settings(WITHOUT, 0)
        assert config.training == plain.training
        assert (config.iterations, config.examples_per_iteration) == (7, 240)
        assert config.rationalization.enabled == (arm == WITH)


def test_a_digit_count_is_learned_at_the_first_iteration_that_solves_half() -> None:
    climb = Found(WITHOUT, 0, 0.55, (0.5, 0.6, 0.8), CLIMB)
    assert [climb.learned(digits) for digits in "234"] == [1, 2, 4]


def test_the_page_shows_the_base_model_every_iteration_and_the_stages() -> None:
    found = [Found(WITHOUT, 0, 0.55, (0.5, 0.6, 0.8), CLIMB), Found(DIRECT, 0, None, (0.3,), CLIMB[:1])]
    text = "\n".join(page(found, 60.0, "command"))
    assert "| base model, few-shot with working | 0 | 55 | | | |" in text
    assert "| without rationalization | 0 | 50 60 80 | 100 100 100 | 20 60 90 | 10 10 40 |" in text
    assert "| without rationalization | 0 | 1 | 2 | none |" in text
    assert text.count("| direct fine-tuning |") == 1
