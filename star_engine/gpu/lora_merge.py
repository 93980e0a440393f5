"""Reads LoRA adapters strictly, as changes to weight matrices of the base model, and merges them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from star_engine.adapters.weight_files import weight_files
from star_engine.protocols import BadAdapter

PREFIX = "base_model.model."
# Settings of PEFT under which the change would not be alpha / rank * B A of the plain weight.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "use_dora": (False, None),
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "lora_bias": (False, None),
    "trainable_token_indices": (None, []),
    "target_parameters": (None, []),
}


@dataclass(frozen=True, slots=True)
class LoraUpdate:
    """The change of one weight matrix: scale * b @ a, in float32. a (rank, in), b (out, rank)."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    def matrix(self) -> torch.Tensor:
        return self.scale * (self.b @ self.a)

    def norm(self) -> float:
        """Frobenius norm of the change, without forming it: |BA|^2 = trace((B'B)(AA'))."""
        a, b = self.a.double(), self.b.double()
        square = ((b.T @ b) * (a @ a.T)).sum().clamp(min=0)
        return float(self.scale * square.sqrt())


def read_adapter(adapter: Path, shapes: Mapping[str, torch.Size]) -> dict[str, LoraUpdate]:
    """The update of each weight by its name in the base model, whose weights have these shapes.

    Raises BadAdapter where a file is missing or cut off, a weight is not in the base model or has another
    shape, a pair is incomplete, or the adapter asks for more than plain LoRA.
    """
    config = _read_config(adapter)
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in _read_weights(adapter).items():
        weight, half = _split(name)
        pairs.setdefault(weight, {})[half] = tensor.float()
    return {weight: _update(weight, pair, shapes, config) for weight, pair in sorted(pairs.items())}


def _read_config(adapter: Path) -> dict[str, Any]:
    try:
        config = json.loads((adapter / "adapter_config.json").read_text())
    except FileNotFoundError:
        raise BadAdapter("adapter_config.json is missing.") from None
    except ValueError as error:
        raise BadAdapter(f"adapter_config.json is not JSON: {error}.") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise BadAdapter("adapter_config.json does not describe a LoRA adapter (peft_type LORA).")
    for setting, neutral in NEUTRAL.items():
        if config.get(setting) not in neutral:
            raise BadAdapter(
                f"adapter_config.json sets {setting}={config[setting]!r}; only plain LoRA is served."
            )
    if not all(isinstance(config.get(key), int) and config[key] > 0 for key in ("r", "lora_alpha")):
        raise BadAdapter("adapter_config.json has no positive r and lora_alpha.")
    return config


def _read_weights(adapter: Path) -> dict[str, torch.Tensor]:
    try:
        weights = load_file(adapter / "adapter_model.safetensors")
    except FileNotFoundError:
        raise BadAdapter("adapter_model.safetensors is missing.") from None
    except (SafetensorError, OSError) as error:
        raise BadAdapter(f"adapter_model.safetensors cannot be read (cut off or damaged): {error}.") from None
    if not weights:
        raise BadAdapter("adapter_model.safetensors holds no weights.")
    return weights


def _split(name: str) -> tuple[str, str]:
    for half in ("A", "B"):
        end = f".lora_{half}.weight"
        if name.startswith(PREFIX) and name.endswith(end):
            return f"{name[len(PREFIX) : -len(end)]}.weight", half
    raise BadAdapter(f"Weight {name} is not a LoRA weight of a linear layer.")


def _update(
    weight: str, pair: Mapping[str, torch.Tensor], shapes: Mapping[str, torch.Size], config: Mapping[str, Any]
) -> LoraUpdate:
    if weight not in shapes:
        raise BadAdapter(f"The base model has no weight {weight}: the adapter belongs to another model.")
    if set(pair) != {"A", "B"}:
        raise BadAdapter(f"The adapter has only one half of its pair for {weight}.")
    rank, shape = config["r"], tuple(shapes[weight])
    a, b = pair["A"], pair["B"]
    if a.ndim != 2 or b.ndim != 2 or (b.shape[0], a.shape[1]) != shape or {a.shape[0], b.shape[1]} != {rank}:
        found = f"A {tuple(a.shape)}, B {tuple(b.shape)}"
        raise BadAdapter(f"{weight} has shape {shape} and the adapter rank {rank}, which {found} do not fit.")
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    return LoraUpdate(a, b, scale)


def weight_shapes(base_model: Path) -> dict[str, torch.Size]:
    """Shape of every weight of a model folder, read from the headers of its safetensors files."""
    shapes: dict[str, torch.Size] = {}
    for shard in weight_files(base_model):
        with safe_open(shard, framework="pt") as weights:
            names = weights.keys()
            shapes |= {name: torch.Size(weights.get_slice(name).get_shape()) for name in names}
    return shapes


def merged_weights(base_model: Path, updates: Mapping[str, LoraUpdate]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and value of every weight with the adapter merged, in float32 however the base is stored.
    One at a time: nothing is written, and the copy is never complete in memory.
    """
    for shard in weight_files(base_model):
        with safe_open(shard, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a dict
                weight = weights.get_tensor(name).float()
                yield name, weight + updates[name].matrix() if name in updates else weight
