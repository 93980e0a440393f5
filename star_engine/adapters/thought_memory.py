"""What a step of Quiet-STaR takes of memory: known from the settings and the base model's shape alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_engine.config.quiet_star import QuietStar

# Of what the tensors themselves take. The peak of a step on a CPU was 1.05 to 1.64 times as much with the
# addition model, windows of 128 and 256 tokens and thoughts of 4, 8 and 12.
OVERHEAD = 1.6
LOGITS = 4  # float32 copies of one pass's logits at a time: the rest is computed again in the backward pass


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a decoder that activations follow from."""

    layers: int
    hidden: int
    intermediate: int
    key_values: int  # heads times their size
    vocabulary: int

    @staticmethod
    def of(base_model: Path) -> ModelShape:
        """Read config.json. Raises ValueError where it does not say them."""
        try:
            found: dict[str, Any] = json.loads((base_model / "config.json").read_text(encoding="utf-8"))
            found = found.get("text_config", found)
            hidden, heads = int(found["hidden_size"]), int(found["num_attention_heads"])
            size = int(found.get("head_dim") or hidden // heads)
            return ModelShape(
                layers=int(found["num_hidden_layers"]),
                hidden=hidden,
                intermediate=int(found.get("intermediate_size") or 4 * hidden),
                key_values=int(found.get("num_key_value_heads") or heads) * size,
                vocabulary=int(found["vocab_size"]),
            )
        except (OSError, KeyError, TypeError, ValueError) as problem:
            raise ValueError(
                f"The base model's config.json does not say its sizes: {problem!r}."
            ) from problem


def training_bytes(settings: QuietStar, shape: ModelShape, bytes_per_value: int) -> int:
    """Bytes of activations, keys and values, and logits while a micro-batch is learned; without the weights.

    Each of the passes over all positions keeps, per layer, some 8 hidden states, 4 of the MLP's and its keys
    and values; and, since keys grow with every pass, a copy of all keys and values so far.
    """
    thoughts = settings.rationales if settings.passes > 1 else 1
    positions = settings.micro_batch * thoughts * settings.window
    per_layer = 8 * shape.hidden + 4 * shape.intermediate + 4 * shape.key_values
    kept = settings.passes * per_layer
    grown = settings.passes * (settings.passes + 1) // 2 * 2 * shape.key_values
    activations = positions * shape.layers * (kept + grown) * bytes_per_value
    logits = LOGITS * positions * shape.vocabulary * 4
    return int(OVERHEAD * (activations + logits))
