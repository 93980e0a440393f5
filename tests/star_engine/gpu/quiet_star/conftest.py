"""Two tiny decoders with grouped heads, and what thinks on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from star_engine.config.quiet_star import QuietStar
from star_engine.gpu.quiet_star.thinking import Policy, Thinker
from star_engine.gpu.quiet_star.thought_head import ThoughtHead

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
NONE_BANNED = torch.tensor([], dtype=torch.long)
Make = Callable[..., Thinker]


@pytest.fixture(params=["llama", "qwen2"])
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(1)
    if request.param == "llama":
        return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    return Qwen2ForCausalLM(Qwen2Config(**SIZES)).eval()


@pytest.fixture
def make(model: Any) -> Make:
    def thinker(**settings: Any) -> Thinker:
        chosen = QuietStar(**{"window": 12, "thought_tokens": 3, "ahead_tokens": 2, **settings})
        head = ThoughtHead(torch.randn(32) * 0.1, initial_weight=chosen.initial_weight, embedding_scale=1.0)
        with torch.no_grad():
            head.start.add_(torch.randn(32) * 0.1)
            head.end.add_(torch.randn(32) * 0.1)
        return Thinker(model, head, chosen)

    return thinker


def policy(thinker: Thinker, seed: int = 0) -> Policy:
    return Policy(thinker.settings, NONE_BANNED, torch.Generator().manual_seed(seed))
