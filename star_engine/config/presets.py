"""Named settings with their source. A preset is a starting point: everything in it can be overridden.

Steps, batches and warm-up are the paper's. The learning rate is ours, since a LoRA adapter without GPT-J's
optimizer moments needs a far larger one than the paper's 1e-6. Every other deviation is in `fidelity.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from star_engine.config.preset_families.baselines import (
    direct_fine_tune,
    few_shot_cot,
    few_shot_direct,
    gold_rationale_fine_tune,
)
from star_engine.config.preset_families.overlay import changes, laid_over
from star_engine.config.preset_families.sampled import adastar, b_star, expert_iteration, rest_em, rft
from star_engine.config.preset_families.star_family import (
    quick,
    star,
    star_majority_vote,
    star_released_code,
    star_without_rationalization,
)
from star_engine.config.preset_families.wrong_tries import iterative_rpo, opsd, opsd_wrong_hint, v_star
from star_engine.config.selection import Selection
from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.tasks.kind import Kind

PRESETS: dict[str, Callable[[Kind], StarConfig]] = {
    "star": star,
    "quick": quick,
    "star-without-rationalization": star_without_rationalization,
    "star-released-code": star_released_code,
    "few-shot-direct": few_shot_direct,
    "few-shot-cot": few_shot_cot,
    "direct-fine-tune": direct_fine_tune,
    "gold-rationale-fine-tune": gold_rationale_fine_tune,
    "rft": rft,
    "rest-em": rest_em,
    "expert-iteration": expert_iteration,
    "adastar": adastar,
    "b-star": b_star,
    "v-star": v_star,
    "iterative-rpo": iterative_rpo,
    "opsd": opsd,
    "opsd-wrong-hint": opsd_wrong_hint,
    "star-majority-vote": star_majority_vote,
}


def laid_beside(config: StarConfig, preset: str) -> dict[str, Any]:
    """Return the settings of a baseline for this job: its own, changed as the preset changes `star`.

    What is measured stays the job's, so that the two can be compared.
    """
    settings = config.model_dump(mode="json")
    usual = star(config.kind).model_dump(mode="json")
    other = PRESETS[preset](config.kind)
    named = other.model_dump(mode="json")
    changed = changes(usual, named)
    if other.training_set.source is Source.RATIONALES:
        if settings["training"] != usual["training"]:
            changed.pop("training", None)  # as long as the job, whatever that is
        settings |= {part: named[part] for part in _METHODS}
        settings["evaluation"] = _ranked_without_verifier(settings["evaluation"], named["trained_verifier"])
        if config.selection.recorded and not other.selection.recorded:
            settings["selection"] = named["selection"]
        if config.training_set.source is not Source.RATIONALES:
            own = {part: named["training_set"][part] for part in ("source", "filters", "checks")}
            settings["training_set"] |= own
        return laid_over(settings, changed) | {"evaluation": settings["evaluation"]}
    changed |= {**_OF_SAMPLING, "generation": {"samples_per_example": 1}}
    given = {"source": other.training_set.source.value, "filters": [], "checks": []}
    changed["training_set"] = settings["training_set"] | given
    return laid_over(settings, changed) | {
        "evaluation": _ranked_without_verifier(settings["evaluation"], None)
    }


def _ranked_without_verifier(evaluation: dict[str, Any], verifier: Any) -> dict[str, Any]:
    """The job's evaluation; its answers ranked by the model itself where a baseline trains no verifier."""
    test_time = evaluation["test_time"]
    if verifier is not None or test_time is None or test_time["scorer"] != "verifier":
        return evaluation
    return {**evaluation, "test_time": {**test_time, "scorer": "generator"}}


# What makes a method another one than STaR: of a baseline, as its own preset says.
_METHODS = ("controller", "preference", "self_distillation", "trained_verifier")


# What a job may do with its tries; a baseline that trains on the dataset's own texts has none.
_OF_SAMPLING: Mapping[str, Any] = {
    "selection": Selection().model_dump(mode="json"),
    "controller": None,
    "preference": None,
    "self_distillation": None,
    "trained_verifier": None,
}

__all__ = [
    "PRESETS",
    "adastar",
    "b_star",
    "direct_fine_tune",
    "expert_iteration",
    "few_shot_cot",
    "few_shot_direct",
    "gold_rationale_fine_tune",
    "iterative_rpo",
    "laid_beside",
    "laid_over",
    "opsd",
    "opsd_wrong_hint",
    "quick",
    "rest_em",
    "rft",
    "star",
    "star_majority_vote",
    "star_released_code",
    "star_without_rationalization",
    "v_star",
]
