"""The arms of the addition experiment and of the demo: what they share, and what each one changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from star_engine.config.presets import PRESETS, laid_over
from star_engine.config.star import StarConfig
from star_engine.tasks.kind import Kind

TRAIN, HELD_OUT = 800, 240  # asked for; one digit has fewer, which leaves 639 and 219
STAR, WITHOUT, SAMPLED = "with rationalization (STaR)", "without rationalization", "without, 4 tries at T 0.7"
DIRECT, GOLD = "direct fine-tuning", "gold scratchpads"
KEPT_HINTS, DECAYED = "STaR, p_keep_hint 0.2", "STaR, decay_share 0.5"
PRESET = {
    STAR: "star",
    WITHOUT: "star-without-rationalization",
    DIRECT: "direct-fine-tune",
    GOLD: "gold-rationale-fine-tune",
    SAMPLED: "star-without-rationalization",
    KEPT_HINTS: "star",
    DECAYED: "star",
}
FEW_SHOT = ("few_shot_direct", "few_shot_cot")  # the base model's, which the STaR arm measures


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is asked and trained."""

    iterations: int
    steps: int  # of an iteration; direct fine-tuning and gold scratchpads take those of all at once
    questions: int | None  # of an iteration; None: all


BUDGET = Budget(iterations=3, steps=120, questions=320)

OWN: Mapping[str, dict[str, Any]] = {
    STAR: {"evaluation": {"baselines": list(FEW_SHOT)}},
    SAMPLED: {"generation": {"temperature": 0.7, "samples_per_example": 4}},
    KEPT_HINTS: {"rationalization": {"p_keep_hint": 0.2}},
    DECAYED: {"training": {"decay_share": 0.5}},
}


def changes(arm: str, budget: Budget) -> dict[str, Any]:
    """Return what an arm changes in its preset."""
    at_once = arm in (DIRECT, GOLD)
    steps = budget.steps * (budget.iterations if at_once else 1)
    shared: dict[str, Any] = {
        "iterations": 1 if at_once else budget.iterations,
        "examples_per_iteration": None if at_once else budget.questions,
        "generation": {"max_tokens": 96, "few_shot": "first_iteration"},  # hinted prompts always show them
        "training": {
            "schedule": {"kind": "fixed", "steps": steps},
            "batch_size": 16,
            "learning_rate": 1e-3,
            "warmup_steps": 10,
            "lora": {"rank": 64, "alpha": 128},
        },
        "evaluation": {"baselines": []},
        "audits": {"determinism": 0, "spark_level": None},
    }
    return laid_over(shared, OWN.get(arm, {}))


def settings(arm: str, budget: Budget, seed: int) -> StarConfig:
    """Return the whole settings of an arm."""
    config = PRESETS[PRESET[arm]](Kind.SCRATCHPAD).model_dump(mode="json") | {"seed": seed}
    return StarConfig.model_validate(laid_over(config, changes(arm, budget)))
