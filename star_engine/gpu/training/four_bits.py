"""QLoRA: an adapter is trained over a base model whose linear layers are held in 4 bits (arXiv 2305.14314).

NF4 with double quantization (section 3 there), by bitsandbytes: half a byte a weight in place of two.
Embedding, norms and output layer stay as they are. A layer's weights are made whole again where they are
needed, on the way there and once more on the way back: products are those of the plain trainer, in its
precision.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from star_engine.gpu.causal_lm import load_model

MISSING = (
    "training.quantization is nf4, and the worker has no bitsandbytes: install its extra `qlora`, or set "
    "training.quantization to null."
)
SHARDED = (
    "A base model in 4 bits is not cut into pieces (STAR_SHARDING=always): its scales would stay behind. Set "
    "STAR_SHARDING=auto, with which each process holds all of it, or training.quantization to null."
)


def load_in_four_bits(path: Path, *, dtype: torch.dtype, device: str) -> Any:
    """The model of a local folder as `load_model` has it, its linear layers in NF4.

    dtype: of all that is not quantized, and of products. Raises ValueError where bitsandbytes is missing.
    """
    if find_spec("bitsandbytes") is None:
        raise ValueError(MISSING)
    from transformers import BitsAndBytesConfig
    from transformers.utils.import_utils import is_bitsandbytes_available

    is_bitsandbytes_available.cache_clear()  # peft_alone has hidden it from whoever asked meanwhile
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    model = load_model(path, dtype=dtype, device=device, quantization=quantization)
    for layer in model.modules():
        if is_four_bit(layer):
            # On CPUs with AVX512-BF16 bitsandbytes would rewrite the weights in another layout, rounding
            # their scales to bfloat16, at the first forward pass without gradients.
            layer.support_avx512bf16_for_cpu = False
    return model


def is_four_bit(layer: torch.nn.Module) -> bool:
    """Whether its weights are in NF4."""
    bitsandbytes = sys.modules.get("bitsandbytes")  # where nothing has imported it, there are none
    return bitsandbytes is not None and isinstance(layer, bitsandbytes.nn.Linear4bit)


def whole(weight: torch.Tensor, state: Any) -> torch.Tensor:
    """Return (out, in) weights as numbers. state: bitsandbytes' of quantized ones; None: they are numbers."""
    if state is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    numbers: torch.Tensor = dequantize_4bit(weight.data, state)
    return numbers
