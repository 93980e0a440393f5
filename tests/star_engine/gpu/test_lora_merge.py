"""Reading an adapter strictly and merging it: compared with PEFT's own merge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from star_engine.gpu.lora_merge import merged_weights, read_adapter, weight_shapes
from star_engine.protocols import BadAdapter


def merged_by_peft(model: Path, adapter: Path) -> dict[str, torch.Tensor]:
    base = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32)
    state: dict[str, torch.Tensor] = (
        PeftModel.from_pretrained(base, str(adapter)).merge_and_unload().state_dict()
    )
    return state


def with_config(adapter: Path, folder: Path, **settings: Any) -> Path:
    shutil.copytree(adapter, folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | settings))
    return folder


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"lora_alpha": 3}])
def test_merged_weights_are_those_of_peft(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    adapter = with_config(tiny_adapter, tmp_path / "adapter", **settings)
    expected = merged_by_peft(tiny_model, adapter)
    found = dict(merged_weights(tiny_model, read_adapter(adapter, weight_shapes(tiny_model))))
    assert found.keys() == weight_shapes(tiny_model).keys()
    for name, weight in found.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-6, atol=1e-6)


def test_a_sharded_bfloat16_base_is_merged_in_float32(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    base = LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    base.save_pretrained(tmp_path / "base", max_shard_size="100KB")
    assert len(list((tmp_path / "base").glob("*.safetensors"))) > 1
    updates = read_adapter(tiny_adapter, weight_shapes(tmp_path / "base"))
    merged = dict(merged_weights(tmp_path / "base", updates))
    assert all(weight.dtype == torch.float32 for weight in merged.values())
    name = "model.layers.1.mlp.down_proj.weight"
    expected = base.state_dict()[name].float() + updates[name].matrix()
    assert torch.equal(merged[name], expected)
    assert not torch.equal(expected, expected.bfloat16().float())  # bfloat16 could not hold it


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"peft_type": "IA3"}, "does not describe a LoRA adapter"),
        ({"use_dora": True}, "use_dora=True; only plain LoRA"),
        ({"modules_to_save": ["lm_head"]}, "only plain LoRA"),
        ({"bias": "all"}, "only plain LoRA"),
        ({"rank_pattern": {"q_proj": 8}}, "only plain LoRA"),
        ({"r": 0}, "no positive r and lora_alpha"),
        ({"r": 8}, "the adapter rank 8"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    adapter = with_config(tiny_adapter, tmp_path / "adapter", **settings)
    with pytest.raises(BadAdapter, match=reason):
        read_adapter(adapter, weight_shapes(tiny_model))


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(tiny_model: Path, tiny_adapter: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(tiny_adapter, tmp_path / "adapter")
    (tmp_path / "adapter" / name).unlink()
    with pytest.raises(BadAdapter, match=f"{name} is missing"):
        read_adapter(tmp_path / "adapter", weight_shapes(tiny_model))


def test_weights_that_are_no_lora_pair_are_refused(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_adapter, tmp_path / "adapter")
    path = tmp_path / "adapter/adapter_model.safetensors"
    save_file({**load_file(path), "base_model.model.lm_head.weight": torch.ones(2, 2)}, path)
    with pytest.raises(BadAdapter, match=r"lm_head.weight is not a LoRA weight"):
        read_adapter(tmp_path / "adapter", weight_shapes(tiny_model))
