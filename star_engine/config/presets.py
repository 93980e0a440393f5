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
from star_engine.config.preset_families.thoughts import (
    CONTROLS,
    fast_quiet_star,
    quiet_star,
    with_thoughts,
)
from star_engine.config.preset_families.tool_users import start
from star_engine.config.preset_families.wrong_tries import iterative_rpo, opsd, opsd_wrong_hint, v_star
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
    "start": start,
    "star-majority-vote": star_majority_vote,
}

DOCUMENT_PRESETS: dict[str, Callable[[Kind], StarConfig]] = {
    "quiet-star": quiet_star,
    "fast-quiet-star": fast_quiet_star,
}


def presets_of(kind: Kind) -> Mapping[str, Callable[[Kind], StarConfig]]:
    """The presets that a dataset of this kind can have: documents have others than questions."""
    return DOCUMENT_PRESETS if kind == Kind.DOCUMENTS else PRESETS


def preset_config(name: str, kind: Kind, changes: Mapping[str, Any] | None = None) -> StarConfig:
    """The settings of a preset for a kind of task, with some of them changed, at any depth.

    Raises KeyError for an unknown preset and pydantic.ValidationError for settings that do not hold.
    """
    preset = {**PRESETS, **DOCUMENT_PRESETS}[name](kind)
    return StarConfig.model_validate(laid_over(preset.model_dump(mode="json"), changes or {}))


FIXED_TEMPERATURE = "fixed-temperature"  # no preset: the job itself, without what its controller changes


def at_fixed_temperature(config: StarConfig) -> dict[str, Any]:
    """Return the settings of a job as without its controller: generation.temperature in every iteration.

    Where the controller has a scorer, one is left that has nothing to choose: its tries are rewarded all the
    same, and a threshold of 0 keeps every right one. ValueError where there is no controller.
    """
    if config.controller is None:
        raise ValueError("The job has no controller, so its temperature is fixed as it is.")
    settings = config.model_dump(mode="json")
    if config.controller.scorer is None:
        return settings | {"controller": None}
    fixed = {"temperatures": [config.generation.temperature], "thresholds": [0.0]}
    return settings | {"controller": settings["controller"] | fixed}


def laid_beside(config: StarConfig, preset: str) -> dict[str, Any]:
    """Return the settings of a baseline for this job: its own, changed as the preset changes `star`.

    What makes a method the one that it is, in `_METHOD`, is the preset's, so that a baseline does what its
    name says whatever the job does. How much is sampled and trained, and what is measured, stays the job's,
    so that the two can be compared; a preset that samples many tries brings its number of them, but beside a
    job with a verifier of its own it has as many in all.
    """
    settings = config.model_dump(mode="json")
    usual = star(config.kind).model_dump(mode="json")
    other = PRESETS[preset](config.kind).model_dump(mode="json")
    changed = changes(usual, other)
    evaluation = _measured(settings["evaluation"], other)
    if other["training_set"]["source"] != Source.RATIONALES:
        given = {"source": other["training_set"]["source"], "filters": [], "checks": []}
        changed |= {name: other[name] for name in _METHOD}
        changed |= {"generation": {"samples_per_example": 1}}
        changed["training_set"] = settings["training_set"] | given
        return laid_over(settings, changed) | {"evaluation": evaluation}
    if settings["training"] != usual["training"]:
        changed.pop("training", None)  # as long as the job, whatever that is
    beside = laid_over(settings, changed) | {name: other[name] for name in _METHOD}
    beside["training"] |= {name: other["training"][name] for name in ("start_from", "optimizer")}
    if settings["training_set"]["source"] != Source.RATIONALES:
        beside["training_set"] |= {
            name: other["training_set"][name] for name in ("source", "filters", "checks")
        }
    if other["labels"] == settings["labels"] == "gold":  # a vote never shows the gold answer
        beside["rationalization"] |= {"enabled": other["rationalization"]["enabled"]}
    if other["preference"] or other["self_distillation"]:  # learn an iteration's own tries, and nothing else
        beside["training_set"] |= {"window": 1, "mix": []}
        beside["training"] |= {"loss": "completion"}
    if other["tools"]["python"]:  # which a check does not call
        beside["training_set"] |= {"checks": []}
    if config.trained_verifier is not None and "samples_per_example" in changed.get("generation", {}):
        beside["generation"] |= {"samples_per_example": _as_many_tries(config, beside["iterations"])}
    return beside | {"evaluation": evaluation}


def _as_many_tries(config: StarConfig, iterations: int) -> int:
    """Tries of a question in each iteration of a baseline, so that in all there are as many as in the job.

    V-STaR is compared so (arXiv 2402.06457, section 4.1): RFT has 3 x 16 in its one iteration.
    """
    in_all = config.iterations * config.generation.samples_per_example
    return min(max(1, round(in_all / iterations)), 256)  # the most that an iteration can have


# Settings of which each is a method, or a part of one; a baseline has those of its preset.
_METHOD = (
    *("baselines_only", "selection", "controller", "tools", "hints"),
    *("preference", "self_distillation", "trained_verifier"),
)


def _measured(evaluation: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What the job measures, its answers ranked by the baseline's own verifier where it trains one."""
    test_time = evaluation["test_time"]
    if test_time is None or test_time["scorer"] not in ("verifier", "generator"):
        return dict(evaluation)
    scorer = "verifier" if other["trained_verifier"] else "generator"
    return {**evaluation, "test_time": {**test_time, "scorer": scorer}}


__all__ = [
    "CONTROLS",
    "DOCUMENT_PRESETS",
    "FIXED_TEMPERATURE",
    "PRESETS",
    "adastar",
    "at_fixed_temperature",
    "b_star",
    "direct_fine_tune",
    "expert_iteration",
    "fast_quiet_star",
    "few_shot_cot",
    "few_shot_direct",
    "gold_rationale_fine_tune",
    "iterative_rpo",
    "laid_beside",
    "laid_over",
    "opsd",
    "opsd_wrong_hint",
    "presets_of",
    "quick",
    "quiet_star",
    "rest_em",
    "rft",
    "star",
    "star_majority_vote",
    "star_released_code",
    "star_without_rationalization",
    "start",
    "v_star",
    "with_thoughts",
]
