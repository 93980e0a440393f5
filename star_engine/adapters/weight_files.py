"""The weight files of a base model, read without PyTorch: which they are, and what their headers say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

INDEX = "model.safetensors.index.json"
BYTES_PER_WEIGHT = 2  # bfloat16 on a GPU, whatever the files hold
# In NF4 with double quantization: 4 bits, 8 for each 64 weights and 32 for each 256 of those.
BYTES_PER_FOUR_BITS = 0.5 + 1 / 64 + 4 / (64 * 256)
BESIDE_WEIGHTS = 1.25  # times the weights: what a training takes with a row's activations, at least


def weight_files(model: Path) -> list[Path]:
    """Return the safetensors files of a model folder: those of its index, if it has one.

    Some models carry their weights a second time under names of the maker's own (`consolidated.safetensors`).
    Raises ValueError where there are none.
    """
    index = model / INDEX
    if index.is_file():
        named = set(json.loads(index.read_text())["weight_map"].values())
        return [model / name for name in sorted(named)]
    if (whole := model / "model.safetensors").is_file():
        return [whole]
    if files := sorted(model.glob("*.safetensors")):
        return files
    raise ValueError(f"Base model {model.name} has no safetensors files.")


def parameter_count(model: Path) -> int:
    """Return how many numbers the weights of a model folder hold, whatever type they are stored in."""
    files = weight_files(model)
    return sum(prod(entry["shape"]) for file in files for entry in tensor_entries(file)[0].values())


def held_bytes(model: Path, quantization: str | None = None) -> float:
    """Return how much memory of a GPU the weights take while an adapter is trained.

    quantization: None, or nf4 for linear layers in 4 bits; embedding and output layer are never quantized.
    """
    if quantization is None:
        return BYTES_PER_WEIGHT * parameter_count(model)
    found = (entry for file in weight_files(model) for entry in tensor_entries(file)[0].items())
    return sum((prod(one["shape"]) * _bytes_in_four_bits(name, one["shape"]) for name, one in found), 0.0)


def _bytes_in_four_bits(name: str, shape: Sequence[int]) -> float:
    is_linear = len(shape) == 2 and not any(part in name for part in ("embed", "lm_head", "wte", "wpe"))
    return BYTES_PER_FOUR_BITS if is_linear else BYTES_PER_WEIGHT


def stored_bytes(model: Path) -> int:
    """Return the size of the weights as they are stored: what quantized ones take of a GPU's memory."""
    return sum(file.stat().st_size for file in weight_files(model))


def training_bytes(model: Path, quantization: str | None = None) -> float:
    """Return how much memory of a GPU, or of several together, a training on this model takes at least."""
    return BESIDE_WEIGHTS * held_bytes(model, quantization)


def tensor_entries(file: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Return name to {dtype, shape, data_offsets}, and where the data begin.

    A file is 8 bytes of length, then a header of JSON, then the data (safetensors' format). Raises ValueError
    for other files.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > file.stat().st_size:
            raise ValueError(f"{file.name} is not in the safetensors format.")
        header: dict[str, dict[str, Any]] = json.loads(opened.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length
