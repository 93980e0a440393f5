"""A base model with an adapter merged into its weights, file by file and one tensor at a time in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from star_engine.adapters.weight_files import INDEX, tensor_entries, weight_files
from star_engine.gpu.export.parts import CannotExport, Part, archive, file_part
from star_engine.gpu.lora_merge import LoraUpdate, read_adapter, weight_shapes

# What loads a model and says what it may be used for; a base model's own card would describe another one.
BESIDE = (
    "config.json",
    "generation_config.json",
    "tokenizer*.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.*",
    "LICENSE*",
)
FLOATS = ("F32", "F16", "BF16")
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def merged_archive(base: Path, adapter: Path, name: str) -> Part:
    """A .tar of a folder that `from_pretrained` loads: the base model's files with other weights in them.

    Weights keep the type in which the base model stores them, and the files their division. Raises BadAdapter
    and CannotExport.
    """
    updates = updates_of(base, adapter)
    files = [file_part(path) for path in sorted(base.iterdir()) if _belongs(path)]
    files += [_merged_file(path, updates) for path in weight_files(base)]
    return archive(name, sorted(files, key=lambda part: part.name))


def updates_of(base: Path, adapter: Path) -> dict[str, LoraUpdate]:
    """What the adapter changes, by the weight's name. Raises BadAdapter and CannotExport."""
    updates = read_adapter(adapter, weight_shapes(base))
    for file in weight_files(base):
        entries, _ = tensor_entries(file)
        for name in sorted(updates.keys() & entries.keys()):
            if entries[name]["dtype"] not in FLOATS:
                stored = entries[name]["dtype"]
                raise CannotExport(f"{name} is stored as {stored}: only {', '.join(FLOATS)} can be merged.")
    return updates


def merged_tensor(weights: Any, name: str, updates: Mapping[str, LoraUpdate]) -> torch.Tensor:
    """A weight with its change, added in float32 and rounded to the type in which the base stores it."""
    weight: torch.Tensor = weights.get_tensor(name)
    if name not in updates:
        return weight
    return (weight.float() + updates[name].matrix()).to(weight.dtype)


def tensor_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _belongs(path: Path) -> bool:
    named = path.name == INDEX or any(fnmatch(path.name, pattern) for pattern in BESIDE)
    return path.is_file() and named


def _merged_file(path: Path, updates: Mapping[str, LoraUpdate]) -> Part:
    """Shapes and types stay, so the header and every offset do."""
    entries, begin = tensor_entries(path)
    order = sorted(entries, key=lambda name: entries[name]["data_offsets"][0])

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            yield file.read(begin)
        with safe_open(path, framework="pt") as weights:
            for name in order:
                yield tensor_bytes(merged_tensor(weights, name, updates))

    return Part(path.name, path.stat().st_size, chunks)
