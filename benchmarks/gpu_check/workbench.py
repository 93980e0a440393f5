"""What the checks share: models with random weights of published architectures, rows, steps, the clock."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from star_engine.config.lora import Lora
from star_engine.config.schedules import FixedSchedule
from star_engine.config.star import Training
from star_engine.gpu.peft_alone import peft
from star_engine.gpu.training.lean_lora import use_lean_forward
from star_engine.gpu.training.lora_run import LoraRun, Ranks
from star_engine.gpu.training.tokenized_rows import TokenizedRow
from star_engine.protocols import TrainingText
from tests.star_engine.gpu.tokenizers import CHARACTERS, character_tokenizer

# As their config.json says; only what differs from the defaults of the architecture.
CONFIGS: dict[str, dict[str, Any]] = {
    "0.5B": {  # Qwen2.5-0.5B
        "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936,
        "tie_word_embeddings": True, "max_position_embeddings": 32_768,
    },
    "7B": {  # Qwen2.5-7B
        "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152_064,
        "tie_word_embeddings": False, "max_position_embeddings": 32_768,
    },
    "8B": {  # Llama-3.1-8B
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256,
        "tie_word_embeddings": False, "max_position_embeddings": 32_768,
    },
}  # fmt: skip
TINY = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1,  # heads of 32: the least that vLLM serves on CPU
    "vocab_size": 128, "max_position_embeddings": 1024,
}  # fmt: skip
LETTERS = CHARACTERS.strip()
PREFIX_TOKENS = 616  # of the paper's few-shot examples for CommonsenseQA


class Skipped(Exception):
    """The check cannot be made here; the text says why."""


@dataclass
class Workbench:
    """Where a check runs. `facts`: what it measured, reported whether it passes or not."""

    device: str
    tiny: bool
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Path] = field(default_factory=dict)
    engine: Any = None  # the VllmSampler that the checks of a group share

    @property
    def on_cuda(self) -> bool:
        return self.device != "cpu"

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.on_cuda else torch.float32

    def size(self, full: int, tiny: int) -> int:
        return tiny if self.tiny else full

    def needs_cuda(self) -> None:
        if not self.on_cuda:
            raise Skipped("CUDA only")

    def require(self, true: bool, limit: str) -> None:
        """Fail the check where `limit`, a sentence, does not hold."""
        if not true:
            raise AssertionError(limit)

    def build(self, name: str, dtype: torch.dtype | None = None) -> Any:
        """A model with seeded random weights, made on the device."""
        values = CONFIGS[name] | (TINY if self.tiny else {})
        config = AutoConfig.for_model(**values, bos_token_id=None, eos_token_id=0, pad_token_id=1)
        torch.manual_seed(0)
        with torch.device(self.device):
            model: Any = AutoModelForCausalLM.from_config(
                config, dtype=dtype or self.dtype, attn_implementation="sdpa"
            )
        return model.requires_grad_(False).eval()

    def saved(self, name: str) -> Path:
        """A folder with the model of that name and a tokenizer of one token a character."""
        if name not in self.models:
            folder = self.folder / f"random-{name}"
            model = self.build(name)
            model.save_pretrained(folder)
            character_tokenizer().save_pretrained(folder)
            del model
            self.free()
            self.models[name] = folder
        return self.models[name]

    def texts(self, count: int, prefix: int = 0, seed: int = 0) -> list[TrainingText]:
        """Texts with the token counts of GSM8K's: medians 61 and 85, behind `prefix` equal tokens."""
        rng = random.Random(seed)
        start = _letters(random.Random(-1), prefix)
        shrink = self.size(1, 4)
        lengths = [(rng.lognormvariate(0, 0.32), rng.lognormvariate(0, 0.45)) for _ in range(count)]
        return [
            TrainingText(
                start + _letters(rng, max(4, round(61 * one / shrink))),
                _letters(rng, max(4, round(85 * other / shrink))),
            )
            for one, other in lengths
        ]

    def rows(self, count: int, prefix: int = 0, seed: int = 0) -> list[TokenizedRow]:
        tokenizer = character_tokenizer()
        return [
            TokenizedRow(
                (*tokenizer(text.prompt).input_ids, *tokenizer(text.completion).input_ids, 0),
                len(text.prompt),
            )
            for text in self.texts(count, prefix, seed)
        ]

    @contextmanager
    def adapted(self, base: Any, *, lean: bool = True, weights: bool = False) -> Iterator[Any]:
        """Under a fresh adapter of rank 16, or one whose B is random as well."""
        torch.manual_seed(1)
        config = peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=16,
            lora_alpha=32,
            target_modules="all-linear",
            init_lora_weights=not weights,
        )
        model = peft.get_peft_model(base, config).eval()
        if lean:
            use_lean_forward(model)
        try:
            yield model
        finally:
            model.unload()
            self.free()

    def run(self, model: Any) -> LoraRun:
        return LoraRun(model, settings(100, 64), 0, torch.device(self.device), Ranks())

    def timed(self, work: Callable[[], Any], repeats: int = 3) -> float:
        """Seconds of a call, the best of some after one that is not counted."""
        times = []
        for _ in range(repeats + 1):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - began)
        return min(times[1:])

    def wait(self) -> None:
        if self.on_cuda:
            torch.cuda.synchronize()

    def free(self) -> None:
        gc.collect()
        if self.on_cuda:
            torch.cuda.empty_cache()

    def peak_gib(self) -> float | None:
        """Most memory that PyTorch held since the check began."""
        return round(torch.cuda.max_memory_allocated() / 2**30, 2) if self.on_cuda else None


def settings(steps: int, batch_size: int, **changes: Any) -> Training:
    return Training(
        schedule=FixedSchedule(steps=steps),
        batch_size=batch_size,
        learning_rate=1e-3,
        max_length=1024,
        lora=Lora(rank=16, alpha=32),
        **changes,
    )


def tokens_of(rows: Sequence[TokenizedRow]) -> int:
    return sum(len(row.ids) for row in rows)


def gradients(model: Any) -> torch.Tensor:
    """All gradients of an adapter, one after another, in float32 on the CPU."""
    found = [weight.grad.float().flatten() for weight in model.parameters() if weight.grad is not None]
    return torch.cat(found).cpu()


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(LETTERS) for _ in range(count))
