"""Which files of a base model are needed, and what is refused: nothing of a model is ever executed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from star_engine.adapters.supported import why_unsupported

WANTED = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "LICENSE*",
)
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.msgpack", "*.h5", "*.npz")
NEEDED = ("config.json", "tokenizer.json")


class Unusable(RuntimeError):
    """What was named cannot become a base model; the message says why, and what would help."""


def wanted(names: Iterable[str]) -> list[str]:
    """The files of a repository that a base model needs: of its top folder, and no code."""
    return sorted(name for name in names if "/" not in name and _is_one_of(name, WANTED))


def check_names(names: Collection[str], what: str) -> None:
    """Raises Unusable where the weights, the configuration or the tokenizer are missing."""
    if "adapter_config.json" in names and "config.json" not in names:
        raise Unusable(f"{what} is an adapter: add the base model that its adapter_config.json names.")
    if not any(name.endswith(".safetensors") for name in names):
        pickled = sorted(name for name in names if _is_one_of(name, PICKLED))
        found = f" It has {pickled[0]}, whose format can run code." if pickled else ""
        raise Unusable(f"{what} has no *.safetensors.{found} Convert its weights with safetensors first.")
    if missing := [name for name in NEEDED if name not in names]:
        raise Unusable(f"{what} has no {missing[0]}, which the sampler and the trainer read.")


def check_folder(folder: Path, what: str) -> None:
    """Raises Unusable for a folder that lacks a file, or has one that could run code."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    names = {path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)}
    check_names(names, what)
    risky = sorted(name for name in names if name.endswith(".py") or _is_one_of(Path(name).name, PICKLED))
    if risky:
        raise Unusable(f"{what} holds {risky[0]}: files that can run code are refused. Take it out.")
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and "auto_map" in read_json(folder / name, what):
            raise Unusable(
                f"{what} asks in {name} for code of its own (auto_map), which is never run here: use a "
                "model that the installed transformers knows."
            )
    if (reason := why_unsupported(read_json(folder / "config.json", what))) is not None:
        raise Unusable(f"{what}: {reason}")


def read_json(path: Path, what: str) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise Unusable(f"{what}: {path.name} is no JSON: {problem}.") from problem
    if not isinstance(content, dict):
        raise Unusable(f"{what}: {path.name} is no JSON object.")
    return content


def has_chat_template(folder: Path, what: str) -> bool:
    """Whether the model says how a conversation is written."""
    beside = ("chat_template.jinja", "chat_template.json")
    if any((folder / name).is_file() for name in beside):
        return True
    config = folder / "tokenizer_config.json"
    return config.is_file() and bool(read_json(config, what).get("chat_template"))


def _is_one_of(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
