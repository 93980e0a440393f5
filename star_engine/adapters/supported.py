"""Which base models can be trained as they are sampled: told from config.json, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SAMPLED = ("awq", "compressed-tensors", "fp8", "gptq")  # quantizations under which vLLM applies LoRA adapters
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


def why_unsupported(config: Mapping[str, Any], sampled_only: bool = False) -> str | None:
    """Return a sentence on why a model with this config.json cannot be a base model; None where it can.

    What it refuses would otherwise fail after a training, or train a part of the model without a word.
    sampled_only: another version of it is trained in its place.
    """
    if (quantization := config.get("quantization_config")) is not None:
        method = quantization.get("quant_method", "an unnamed method")
        if not sampled_only:
            return (
                f"its weights are quantized ({method}): adapters are trained on plain weights. Take the "
                "version in bfloat16, float16 or float32, or list that one too and name it in this entry's "
                "`trained_as`."
            )
        if method not in SAMPLED:
            return (
                f"its weights are quantized by {method}, which is not sampled with adapters here: take one "
                f"of {', '.join(SAMPLED)}."
            )
    architectures = config.get("architectures") or []
    if any(name in config for name in ("text_config", "vision_config", "audio_config")):
        return "it reads more than text: its language model is a part of a larger one. Take a text model."
    if config.get("is_encoder_decoder"):
        return "it is an encoder with a decoder: only decoders, which continue a text, can be trained here."
    if wrong := [name for name in architectures if not name.endswith("ForCausalLM")]:
        return f"its architecture {wrong[0]} does not continue a text (a name that ends in ForCausalLM)."
    if any(int(config.get(name) or 0) > 1 for name in _EXPERTS):
        return (
            "it is a mixture of experts, whose experts a LoRA adapter does not reach: a training would "
            "change the attention alone. Take a dense model."
        )
    return None
