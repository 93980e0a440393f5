"""What a step of Quiet-STaR takes of memory is bounded by what its sizes say, before it begins."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.peak_bytes import peak_bytes
from star_engine.adapters.thought_memory import ModelShape, training_bytes
from star_engine.config.quiet_star import QuietStar
from star_engine.gpu.quiet_star.memory import available_bytes
from star_engine.gpu.quiet_star.trainer import QuietTrainer

TOKENIZER = Path(__file__).parents[4] / "examples" / "addition" / "model"
LOOSEST = 2.2  # of the peak: a bound that is far above it would refuse jobs that have room

Made = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A model of the given sizes, with random weights."""

    def make(**sizes: int) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(TOKENIZER, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
        LlamaForCausalLM(LlamaConfig(max_position_embeddings=256, eos_token_id=1, **sizes)).save_pretrained(
            folder
        )
        return folder

    return make


WIDE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 2000,
        "num_attention_heads": 4, "num_key_value_heads": 4}  # fmt: skip
GROUPED = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "vocab_size": 120,
           "num_attention_heads": 8, "num_key_value_heads": 2}  # fmt: skip
DEEP = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "vocab_size": 120,
        "num_attention_heads": 4, "num_key_value_heads": 4}  # fmt: skip


@pytest.mark.parametrize("checkpointed", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("sizes", "settings"),
    [
        (WIDE, {"window": 32, "thought_tokens": 4, "ahead_tokens": 2}),
        (WIDE, {"window": 32, "thought_tokens": 4, "ahead_tokens": 4, "mix": "hidden", "micro_batch": 2}),
        (GROUPED, {"window": 64, "thought_tokens": 12, "ahead_tokens": 4}),
        (DEEP, {"window": 64, "thought_tokens": 2, "ahead_tokens": 4, "rationales": 3}),
        (DEEP, {"window": 96, "ahead_tokens": 2, "thoughts": "pause"}),
        (WIDE, {"window": 64, "ahead_tokens": 2, "thoughts": "off"}),
        (DEEP, {"window": 64, "ahead_tokens": 2, "thought_tokens": 2, "lora": {"dropout": 0.1}}),
    ],
    ids=[
        *("a large vocabulary", "mixed states", "grouped heads", "three thoughts", "pauses", "no thoughts"),
        "dropout",
    ],
)
def test_a_step_takes_no_more_than_its_bound_and_not_far_less(
    made: Made,
    tmp_path: Path,
    sizes: dict[str, int],
    settings: dict[str, Any],
    dtype: torch.dtype,
    checkpointed: bool,
) -> None:
    chosen = QuietStar.model_validate({"micro_batch": 1, "batch_windows": 2, **settings})
    folder = made(**sizes)
    trainer = QuietTrainer(folder, threads=1)
    trainer.base.to(dtype)
    windows = torch.randint(2, 100, (4, chosen.window), generator=torch.Generator().manual_seed(0))
    out, checkpoints = tmp_path / "adapter", tmp_path / "checkpoints"
    step = trainer.train(
        windows, chosen, steps=1, seed=0, out=out, checkpoints=checkpoints, checkpointed=checkpointed
    )
    peak = peak_bytes(lambda: list(step))
    bound = training_bytes(chosen, ModelShape.of(folder), dtype.itemsize, checkpointed=checkpointed)
    assert peak <= bound <= LOOSEST * peak, f"{bound / peak:.2f} of the peak"


def test_what_the_training_before_has_left_in_a_gpus_cache_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    cached = [6]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", cached.clear)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 - sum(cached), 16))
    assert available_bytes(torch.device("cuda")) == 10
