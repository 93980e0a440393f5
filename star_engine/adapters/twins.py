"""A quantized version of a base model, which is sampled, and the plain one, which is trained in its place.

Whether they are one model is told from their files, before anything is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from star_engine.adapters.weight_files import tensor_entries, weight_files

_SIZES = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
)
_TOKENIZER = ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model")
_PACKED = (".weight_packed", ".qweight")  # compressed-tensors; AWQ and GPTQ
_HEAD = "lm_head."  # left out of the files where it is the embedding


def why_no_twins(sampled: Path, trained: Path) -> str | None:
    """Return a sentence on why adapters of `trained` cannot be served on `sampled`; None where they can.

    Both are folders. Raises ValueError and OSError for files that cannot be read.
    """
    if "quantization_config" in _json(trained / "config.json"):
        return f"{trained.name} is quantized itself: name the version in bfloat16, float16 or float32."
    differs = next(_differences(sampled, trained), None)
    return None if differs is None else f"{sampled.name} and {trained.name} are not one model: {differs}."


def _differences(sampled: Path, trained: Path) -> Iterator[str]:
    ours, theirs = _json(sampled / "config.json"), _json(trained / "config.json")
    for key in _SIZES:
        if ours.get(key) != theirs.get(key):
            yield f"config.json says {key} {ours.get(key)} and {theirs.get(key)}"
    ours, theirs = _json(sampled / "tokenizer.json"), _json(trained / "tokenizer.json")
    for key in _TOKENIZER:
        if ours.get(key) != theirs.get(key):
            yield f"{key} of tokenizer.json differs"
    yield from _weight_differences(_shapes(sampled), _shapes(trained))


def _weight_differences(
    ours: Mapping[str, tuple[int, ...]], theirs: Mapping[str, tuple[int, ...]]
) -> Iterator[str]:
    for name, shape in theirs.items():
        packed = next((found for form in _PACKED if (found := ours.get(_stem(name) + form))), None)
        if name in ours:
            if ours[name] != shape:
                yield f"{name} is {ours[name]} and {shape}"
        elif packed is None:
            if not name.startswith(_HEAD):
                yield f"the former has no {name}"
        elif not set(packed) & set(shape):  # one side is packed, the other is as it was
            yield f"{name} is packed as {packed} and {shape}"
    layers = {_stem(name) for name in theirs}
    for name in ours:
        if name.endswith((".weight", *_PACKED)) and _stem(name) not in layers and not name.startswith(_HEAD):
            yield f"the latter has no {name}"


def _stem(name: str) -> str:
    """Of a layer's weight: the layer's name."""
    return name.rpartition(".")[0]


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    found = (tensor_entries(file)[0] for file in weight_files(folder))
    return {name: tuple(entry["shape"]) for entries in found for name, entry in entries.items()}


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
