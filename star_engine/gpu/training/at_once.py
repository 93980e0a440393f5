"""How much runs through the model at once: what a device's memory decides, and a training finds out."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from star_engine.protocols import OutOfMemory

USED_SHARE = 0.8  # of the free memory, by activations: the rest is for one layer's gradients and fragments
LEAST_TOKENS = 512


@dataclass(frozen=True, slots=True)
class AtOnce:
    """What a step is cut into: so many tokens at once, and how many layers are computed twice."""

    tokens: int
    checkpointed: int = 0

    def smaller(self, longest: int, layers: int, needed: int | None = None) -> AtOnce:
        """Return what to try after this did not fit, for a batch whose longest row has `longest` tokens.

        Half the tokens; with one row at a time checkpointed layers, as many as an estimate says are `needed`
        (None: all), then half of the others; OutOfMemory where all `layers` did not fit.
        """
        if self.tokens > longest:
            return AtOnce(max(longest, self.tokens // 2), self.checkpointed)
        if self.checkpointed < layers:
            half = self.checkpointed + ceil((layers - self.checkpointed) / 2)
            first = min(layers, layers if needed is None else needed)
            return AtOnce(self.tokens, first if first > self.checkpointed else half)
        raise OutOfMemory(
            f"One training row of {longest} tokens does not fit the device's memory: lower "
            "training.max_length or training.lora.rank, set training.quantization to nf4, or use a device "
            "with more memory."
        )


def tokens_that_fit(config: Any, free_bytes: int, most: int, width: int = 2) -> int:
    """Return how many tokens to try at once first, at most `most`. width: bytes of a number."""
    kept = bytes_per_token(config, width)
    return most if kept is None else max(LEAST_TOKENS, min(most, int(USED_SHARE * free_bytes / kept)))


def layers_to_checkpoint(config: Any, free_bytes: int, tokens: int, width: int = 2) -> int | None:
    """Return how many layers must keep their input alone for so many tokens to fit; None: not known."""
    kept = bytes_per_token(config, width)
    if kept is None:
        return None
    layers = int(config.num_hidden_layers)
    saved: float = tokens * (kept / layers - width * config.hidden_size)  # by one of them
    return max(1, min(layers, ceil((tokens * kept - USED_SHARE * free_bytes) / saved)))


def bytes_per_token(config: Any, width: int) -> int | None:
    """Return what all layers keep of a token until their way back, where they are like Llama's; else None.

    A layer keeps what goes into its projections, queries, keys, values and what attention makes of them, four
    tensors of the MLP, and what goes into each norm in float32.
    """
    try:
        hidden, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
        head = getattr(config, "head_dim", None) or hidden // heads
        own, shared = heads * head, config.num_key_value_heads * head
        numbers = 2 * hidden + 2 * own + 2 * shared + 4 * inner
        return int(config.num_hidden_layers * (width * numbers + 8 * hidden))
    except (AttributeError, TypeError):
        return None


class StartAgain(Exception):
    """Sharded layers did not fit on one rank, while the others wait for it: all start again, with less.

    They go on from their last resume point.
    """

    def __init__(self, at_once: AtOnce) -> None:
        super().__init__(f"A training step did not fit the device's memory: {at_once} is tried next.")
        self.at_once = at_once
