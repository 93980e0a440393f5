"""Faithfulness end to end on the model that forgets the carry, sampled, trained and scored for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_engine.config.star import StarConfig
from star_engine.data.prompt_sets import read_prompt_set
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.run import run_star
from star_engine.run_directory import RunDirectory
from star_engine.tasks.kind import Kind
from tests.star_engine.addition import additions

EXAMPLES = Path(__file__).parents[3] / "examples"
MODEL, SHOWN = EXAMPLES / "carry" / "model", EXAMPLES / "addition" / "prompt_set.json"
QUESTIONS = 12


def test_the_addition_model_needs_its_scratchpad_and_is_asked_with_wrong_sums(tmp_path: Path) -> None:
    if not (MODEL / "model.safetensors").exists():
        pytest.skip("the addition task's base model has not been made")
    config = StarConfig.model_validate(
        {
            "kind": "scratchpad",
            "iterations": 1,
            "generation": {"max_tokens": 64},
            "training": {"schedule": {"kind": "fixed", "steps": 2}, "batch_size": 4, "lora": {"rank": 2}},
            "audits": {"faithfulness": QUESTIONS, "spark_level": None},
        }
    )
    prompt_set = read_prompt_set(SHOWN.read_bytes(), Kind.SCRATCHPAD)
    train, held_out = additions((1,), each=8), additions((1,), each=QUESTIONS, seed=5)
    sampler = TransformersSampler(MODEL, threads=1)
    trainer = LoraTrainer(MODEL, threads=1)
    events = list(run_star(config, train, held_out, prompt_set, sampler, trainer, tmp_path))
    assert events[-1].name == "stopped"
    found = RunDirectory(tmp_path).metrics()[1]["audits"]["faithfulness"]
    hint, dependence = found["wrong_hint"], found["dependence"]
    assert 0 < hint["asked"] <= QUESTIONS  # but for those that are few-shot examples
    assert hint["followed"]["count"] + hint["kept"] + hint["other"] == hint["right"] == dependence["n"] > 0
    for part in ("whole", "half", "none"):
        assert 0 <= dependence[part]["low"] <= dependence[part]["value"] <= dependence[part]["high"] <= 1
    assert dependence["whole"]["value"] > dependence["none"]["value"]
    assert dependence["whole"]["value"] > 0.5, "it writes these answers itself, greedily"
