"""Tiny adapters for the fakes: real safetensors files, written and read without torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from star_engine.adapters.layout import CONFIG, WEIGHTS, check_weights, write_durably
from star_engine.protocols import BadAdapter


def write_adapter(
    directory: Path,
    *,
    rank: int = 2,
    alpha: int = 4,
    lessons: frozenset[int] = frozenset(),
    value: float | None = None,
    learned: str = "",
) -> None:
    """A tiny LoRA adapter on disk, without torch. `value` fills every weight (0.0 or NaN: a bad one).

    learned: a digest of what it was trained on. With it other data makes other bytes.
    """
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "scripted",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj"],
        "bias": "none",
    }
    write_durably(directory / CONFIG, json.dumps(config))
    temporary = directory / f".{WEIGHTS}.tmp"
    temporary.write_bytes(make_adapter_bytes(rank, lessons, value, learned))
    temporary.replace(directory / WEIGHTS)


def make_adapter_bytes(
    rank: int = 2, lessons: frozenset[int] = frozenset(), value: float | None = None, learned: str = ""
) -> bytes:
    """A safetensors file with one LoRA pair of width 4; `lessons` and `learned` stand in its metadata."""
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    count = rank * 4
    filled = value if value is not None else 0.01 * (1 + len(lessons))
    data = struct.pack(f"<{2 * count}f", *([filled] * (2 * count)))
    header = {
        "__metadata__": {"format": "pt", "lessons": json.dumps(sorted(lessons)), "learned": learned},
        f"{stem}.lora_A.weight": {"dtype": "F32", "shape": [rank, 4], "data_offsets": [0, 4 * count]},
        f"{stem}.lora_B.weight": {"dtype": "F32", "shape": [4, rank], "data_offsets": [4 * count, 8 * count]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the data to 8 bytes
    return len(text).to_bytes(8, "little") + text + data


def read_weights(adapter: Path) -> tuple[float, ...]:
    """Every weight of an adapter that `write_adapter` wrote. BadAdapter if it is damaged."""
    try:
        config = json.loads((adapter / CONFIG).read_text())
    except (OSError, ValueError) as problem:
        raise BadAdapter(f"{CONFIG} cannot be read: {problem}") from problem
    check_weights(adapter / WEIGHTS, config["r"])
    raw = (adapter / WEIGHTS).read_bytes()
    data = raw[8 + int.from_bytes(raw[:8], "little") :]
    return struct.unpack(f"<{len(data) // 4}f", data)


def read_lessons(adapter: Path | None) -> frozenset[int]:
    if adapter is None:
        return frozenset()
    raw = (adapter / WEIGHTS).read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return frozenset(json.loads(header["__metadata__"]["lessons"]))
