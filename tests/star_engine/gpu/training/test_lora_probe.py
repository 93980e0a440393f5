"""The probe: what PEFT says of an adapter, and which adapters it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.protocols import BadAdapter
from tests.star_engine.gpu.conftest import make_adapter

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def trainer(tiny_model: Path) -> LoraTrainer:
    return LoraTrainer(tiny_model, threads=1)


def test_the_probe_measures_the_update_that_peft_applies(
    trainer: LoraTrainer, tiny_model: Path, tiny_adapter: Path
) -> None:
    base = LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    merged = PeftModel.from_pretrained(base, str(tiny_adapter)).merge_and_unload().state_dict()
    norm = sum((merged[name] - before[name]).norm().item() for name in before if name != "lm_head.weight")
    probe = trainer.probe(tiny_adapter, ["Input: 1 + 1"], 5)
    assert probe.weight_norm == pytest.approx(norm, rel=1e-3)
    assert probe.texts != probe.base_texts


def test_a_probe_of_other_prompts_asks_the_base_model_anew(
    trainer: LoraTrainer, tiny_model: Path, tiny_adapter: Path
) -> None:
    probes = [["Input: 1 + 1"], ["9 9 9"], ["9 9 9"], ["Input: 1 + 1"]]
    said = [trainer.probe(tiny_adapter, prompts, 5).base_texts for prompts in probes]
    fresh = LoraTrainer(tiny_model, threads=1).probe(tiny_adapter, ["9 9 9"], 5).base_texts
    assert said[1] == said[2] == fresh != said[0] == said[3]


def zero(weights: dict[str, torch.Tensor]) -> None:
    for weight in weights.values():
        weight.zero_()


def test_the_probe_of_a_zeroed_adapter_shows_that_it_changes_nothing(
    trainer: LoraTrainer, tiny_adapter: Path, tmp_path: Path
) -> None:
    changed(tiny_adapter, tmp_path / "bad", zero)
    probe = trainer.probe(tmp_path / "bad", ["Input: 1 + 1"], 5)
    assert (probe.weight_norm, probe.max_logit_delta) == (0.0, 0.0)
    assert probe.texts == probe.base_texts


def test_the_probe_sees_weights_that_are_not_finite(
    trainer: LoraTrainer, tiny_adapter: Path, tmp_path: Path
) -> None:
    changed(tiny_adapter, tmp_path / "bad", lambda weights: next(iter(weights.values())).fill_(float("nan")))
    assert not trainer.probe(tmp_path / "bad", ["Input: 1 + 1"], 5).finite


def changed(adapter: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    shutil.copytree(adapter, folder)
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def rename_one(weights: dict[str, torch.Tensor]) -> None:
    name = next(iter(weights))
    weights[name.replace("layers.0", "layers.7")] = weights.pop(name)


def test_a_renamed_weight_is_refused_by_the_probe(
    trainer: LoraTrainer, tiny_adapter: Path, tmp_path: Path
) -> None:
    changed(tiny_adapter, tmp_path / "bad", rename_one)
    with pytest.raises(BadAdapter, match=r"(has no weight model.layers.7|only one half)"):
        trainer.probe(tmp_path / "bad", ["1"], 2)


def test_an_adapter_with_a_layer_left_out_is_refused_by_the_probe(
    trainer: LoraTrainer, tiny_adapter: Path, tmp_path: Path
) -> None:
    def leave_out(weights: dict[str, torch.Tensor]) -> None:
        for name in [name for name in weights if "layers.1.mlp.up_proj" in name]:
            del weights[name]

    changed(tiny_adapter, tmp_path / "bad", leave_out)
    with pytest.raises(BadAdapter, match="which its weights do not hold"):
        trainer.probe(tmp_path / "bad", ["1"], 2)
    assert trainer.probe(tiny_adapter, ["1"], 2).finite  # the base model is bare again


def test_a_truncated_adapter_is_refused_by_the_probe(
    trainer: LoraTrainer, tiny_adapter: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_adapter, tmp_path / "bad")
    (tmp_path / "bad" / WEIGHTS).write_bytes((tiny_adapter / WEIGHTS).read_bytes()[:-8])
    with pytest.raises(BadAdapter, match="cut off or damaged"):
        trainer.probe(tmp_path / "bad", ["1"], 2)


def test_the_adapter_of_another_rank_than_its_config_is_refused_by_the_probe(
    trainer: LoraTrainer, tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    make_adapter(tiny_model, tmp_path / "bad", rank=2)
    shutil.copy(tiny_adapter / "adapter_config.json", tmp_path / "bad")
    with pytest.raises(BadAdapter, match="adapter rank 4, which A"):
        trainer.probe(tmp_path / "bad", ["1"], 2)
