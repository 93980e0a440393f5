"""Whether a quantized model and a plain one are the same: told from configs, tokenizers and headers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from star_engine.adapters.twins import why_no_twins

CONFIG = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 96}
QUANTIZED = CONFIG | {"quantization_config": {"quant_method": "awq"}}
TOKENIZER: dict[str, Any] = {"model": {"vocab": {"a": 0}}, "added_tokens": [], "truncation": None}
LAYER = "model.layers.0.mlp.up_proj"
PLAIN: dict[str, Sequence[int]] = {
    "model.embed_tokens.weight": (96, 64),
    "model.norm.weight": (64,),
    f"{LAYER}.weight": (128, 64),
}


def folder(
    path: Path, config: Any = CONFIG, tokenizer: Any = TOKENIZER, tensors: Mapping[str, Sequence[int]] = PLAIN
) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    entries = {
        name: {"dtype": "F32", "shape": [*shape], "data_offsets": [0, 0]} for name, shape in tensors.items()
    }
    header = json.dumps(entries).encode()
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def packed(form: str, shape: Sequence[int], **more: Sequence[int]) -> dict[str, Sequence[int]]:
    rest = {name: shape for name, shape in PLAIN.items() if not name.startswith(LAYER)}
    return {**rest, f"{LAYER}.{form}": shape, **{f"{LAYER}.{name}": value for name, value in more.items()}}


@pytest.mark.parametrize(
    "tensors",
    [
        packed("qweight", (64, 16), qzeros=(1, 16), scales=(1, 128)),  # AWQ: the output is packed
        packed("qweight", (8, 128), qzeros=(1, 16), scales=(1, 128), g_idx=(64,)),  # GPTQ: the input is
        packed("weight_packed", (128, 8), weight_scale=(128, 1), weight_shape=(2,)),
        packed("weight", (128, 64), weight_scale=(128, 1)),  # a byte a weight: FP8, INT8
        packed("weight", (128, 64), weight_scale=(128, 1)) | {"lm_head.weight": (96, 64)},
    ],
)
def test_every_way_of_packing_a_layer_is_the_same_model(
    tmp_path: Path, tensors: Mapping[str, Sequence[int]]
) -> None:
    again = TOKENIZER | {"truncation": {"max_length": 512}}  # rewritten by whoever quantized it
    assert why_no_twins(folder(tmp_path / "a", QUANTIZED, again, tensors), folder(tmp_path / "b")) is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"config": QUANTIZED | {"hidden_size": 32}}, "config.json says hidden_size 32 and 64"),
        ({"tokenizer": TOKENIZER | {"model": {"vocab": {"b": 0}}}}, "model of tokenizer.json differs"),
        ({"tensors": packed("qweight", (48, 12))}, r"up_proj.weight is packed as \(48, 12\) and \(128, 64\)"),
        ({"tensors": packed("weight", (64, 64))}, r"up_proj.weight is \(64, 64\) and \(128, 64\)"),
        ({"tensors": {"model.norm.weight": (64,)}}, "the former has no model.embed_tokens.weight"),
        (
            {"tensors": PLAIN | {"model.layers.1.mlp.up_proj.qweight": (64, 16)}},
            "the latter has no model.layers.1",
        ),
    ],
)
def test_other_models_are_told_apart_by_the_first_thing_that_differs(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    sampled = folder(tmp_path / "sampled", **{"config": QUANTIZED, **changed})
    reason = why_no_twins(sampled, folder(tmp_path / "trained"))
    assert re.search(f"^sampled and trained are not one model: .*{words}", reason or "")


def test_what_is_trained_must_not_be_quantized_itself(tmp_path: Path) -> None:
    reason = why_no_twins(folder(tmp_path / "a", QUANTIZED), folder(tmp_path / "b", QUANTIZED))
    assert reason is not None
    assert reason.startswith("b is quantized itself")
