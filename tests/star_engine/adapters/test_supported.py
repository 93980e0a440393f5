from __future__ import annotations

from typing import Any

import pytest
from transformers import (
    Gemma2Config,
    Gemma3Config,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    T5Config,
)

from star_engine.adapters.supported import why_unsupported


def config_of(made: Any, architecture: str) -> dict[str, Any]:
    config: dict[str, Any] = made.to_dict()
    return config | {"architectures": [architecture]}


@pytest.mark.parametrize(
    ("made", "architecture"),
    [
        (LlamaConfig(), "LlamaForCausalLM"),
        (Qwen2Config(), "Qwen2ForCausalLM"),
        (Qwen3Config(), "Qwen3ForCausalLM"),
        (MistralConfig(), "MistralForCausalLM"),
        (Gemma2Config(), "Gemma2ForCausalLM"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_dense_models_of_text_are_offered(made: Any, architecture: str) -> None:
    assert why_unsupported(config_of(made, architecture)) is None


@pytest.mark.parametrize(
    ("made", "architecture", "reason"),
    [
        (Gemma3Config(), "Gemma3ForConditionalGeneration", "more than text"),
        (Qwen3MoeConfig(), "Qwen3MoeForCausalLM", "mixture of experts"),
        (GptOssConfig(), "GptOssForCausalLM", "mixture of experts"),
        (T5Config(), "T5ForConditionalGeneration", "encoder"),
        (LlamaConfig(), "LlamaForSequenceClassification", "does not continue a text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_be_trained_in_part_or_not_at_all_is_refused(
    made: Any, architecture: str, reason: str
) -> None:
    assert reason in (why_unsupported(config_of(made, architecture)) or "")


@pytest.mark.parametrize("method", ["fp8", "awq", "gptq", "mxfp4", "bitsandbytes"])
def test_quantized_weights_are_refused_by_the_name_of_their_method(method: str) -> None:
    config = config_of(LlamaConfig(), "LlamaForCausalLM") | {"quantization_config": {"quant_method": method}}
    assert method in (why_unsupported(config) or "")
