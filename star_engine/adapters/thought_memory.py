"""What a step of Quiet-STaR takes of memory: known from the settings and the base model's shape alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_engine.config.quiet_star import QuietStar

FLOAT = 4  # bytes of a float32: norms, LoRA matrices and losses are computed in it, whatever the model is in
# Float32 copies of one pass's logits at a time, by `mix`: the rest is computed again in the backward pass.
LOGITS = {"logits": 9, "hidden": 7}
PLAIN_LOGITS = 6  # the same where nothing is thought
LEARNED = 6  # float32 numbers for each learned weight: itself, gradient, two moments, two of the update
SLACK = 1.1  # of an allocator's rounding and of what lies between its blocks


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a decoder that activations follow from."""

    layers: int
    hidden: int
    intermediate: int
    queries: int  # heads times their size
    key_values: int  # the same of the heads that keys and values have
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
                queries=heads * size,
                key_values=int(found.get("num_key_value_heads") or heads) * size,
                vocabulary=int(found["vocab_size"]),
            )
        except (OSError, KeyError, TypeError, ValueError) as problem:
            raise ValueError(
                f"The base model's config.json does not say its sizes: {problem!r}."
            ) from problem


def training_bytes(
    settings: QuietStar, shape: ModelShape, bytes_per_value: int, *, checkpointed: bool = False
) -> int:
    """Bytes that a step has at most beside the base model's weights, `bytes_per_value` each.

    Counted are the tensors that the backward pass needs of every pass over all positions, what it has of its
    own when it begins, and the learned weights with their optimizer. `checkpointed`: as of a Thinker, where
    one pass at a time has its tensors, and not while there are logits. Held against the peak of real steps in
    tests/star_engine/gpu/quiet_star/test_memory.py; for attention that keeps no scores (PyTorch's fused one).
    """
    passes, size = settings.passes, bytes_per_value
    thinks = passes > 1
    logits = (LOGITS[settings.mix] if thinks else PLAIN_LOGITS) * shape.vocabulary * FLOAT
    own = _of_backward(settings, shape, size)
    if checkpointed and thinks:
        at_once = [passes]
        activations = max(logits, _of_pass(passes, settings, shape, size) + own)
        activations += passes * 2 * size * (shape.hidden + shape.layers * shape.key_values)
    else:
        at_once = list(range(1, passes + 1))
        activations = logits + own + sum(_of_pass(number, settings, shape, size) for number in at_once)
    activations += settings.ahead_tokens * size * shape.hidden
    positions = settings.micro_batch * (settings.rationales if thinks else 1) * settings.window
    masks = settings.window**2 * (size + 1) * sum(at_once)
    return int(SLACK * (positions * activations + masks + LEARNED * FLOAT * _learned(settings, shape)))


def _of_pass(number: int, settings: QuietStar, shape: ModelShape, size: int) -> int:
    """Bytes at a position that the backward pass needs of a pass; number 1 is that of the text."""
    ranks = 7 * settings.lora.rank * FLOAT
    if size == FLOAT:  # a tensor that is needed twice is kept once
        layer = FLOAT * (4 * shape.hidden + 3 * shape.queries + 4 * shape.intermediate) + ranks
    else:  # float32 copies of the inputs of both norms and of all seven LoRA matrices
        layer = FLOAT * (7 * shape.hidden + shape.queries + shape.intermediate) + ranks
        layer += size * (2 * shape.queries + 3 * shape.intermediate)
    if settings.lora.dropout:  # the inputs of all LoRA matrices as they are dropped, and where
        layer += (FLOAT + 1) * (5 * shape.hidden + shape.queries + shape.intermediate)
    keys = 2 * shape.queries * size * number  # of all passes up to it, for every head of the queries
    return shape.layers * (layer + keys) + (FLOAT + 3 * size) * shape.hidden


def _of_backward(settings: QuietStar, shape: ModelShape, size: int) -> int:
    """Bytes at a position that a backward pass has of its own beside logits: the gradients of the cached keys
    and values of all layers, and of one layer those of everything.
    """
    cached = 2 * 2 * shape.key_values * settings.passes * size * shape.layers
    layer = 2 * shape.queries * settings.passes * size + FLOAT * (4 * shape.hidden + 3 * shape.intermediate)
    return cached + layer


def _learned(settings: QuietStar, shape: ModelShape) -> int:
    """How many numbers are learned: LoRA matrices of all linear layers, the head, start and end."""
    ends = 7 * shape.hidden + 2 * shape.queries + 2 * shape.key_values + 3 * shape.intermediate
    return shape.layers * settings.lora.rank * ends + 3 * shape.hidden * (shape.hidden + 2)
