"""Pretraining of the examples' tiny base models from nothing, on CPU: shape, optimizers, training loop.

Same seed, same machine and same thread count give the same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.muon import Muon

IGNORED = -100  # a label that is not learned

Batch = tuple[torch.Tensor, torch.Tensor]
"""Token ids and labels, both of shape (rows, tokens)."""


@dataclass(frozen=True)
class Shape:
    """A Llama of 0.87 M parameters with a vocabulary of 116."""

    context: int = 1024
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    mlp: int = 384


@dataclass(frozen=True)
class Rates:
    """The learning rates: a linear warm-up, flat, then linear to zero over the last steps."""

    steps: int
    stop_after: int | None = None  # the weights of this step are taken, before the rate has come down
    warmup_steps: int = 30
    decay_share: float = 0.5  # of all steps, at the end
    muon: float = 0.01  # matrices
    adam: float = 3e-3  # embedding and norms

    def share(self, step: int) -> float:
        """Of the peak rates, in this step counted from 0."""
        warm = (step + 1) / self.warmup_steps
        return min(1.0, warm, (self.steps - step) / (self.steps * self.decay_share))


def build_model(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained model, its weights drawn from torch's random state."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden,
            intermediate_size=shape.mlp,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=shape.context,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def optimizers(rates: Rates, model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    embedding = model.get_input_embeddings().weight
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not embedding]
    others = [p for p in model.parameters() if p.ndim != 2]
    adam = torch.optim.AdamW([embedding, *others], lr=rates.adam, betas=(0.9, 0.95), weight_decay=0.0)
    return [Muon(matrices, lr=rates.muon), adam]


def train(
    model: LlamaForCausalLM, batches: Iterable[Batch], rates: Rates, projection: torch.Tensor | None = None
) -> None:
    """Train `model` in place and print the loss (nats per learned token, smoothed) every 50 steps.

    projection: of shape (tokens, tokens), applied to the embeddings after each step; None: none is.
    """
    stepped = optimizers(rates, model)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in stepped]
    embedding = model.get_input_embeddings().weight
    started, recent = time.monotonic(), math.nan
    model.train()
    for step, (ids, labels) in zip(range(rates.stop_after or rates.steps), batches, strict=False):
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, peak in zip(stepped, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * rates.share(step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if projection is not None:
            embedding.data = projection @ embedding.data
        recent = loss.item() if math.isnan(recent) else 0.95 * recent + 0.05 * loss.item()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}  loss {recent:.4f}  {time.monotonic() - started:.0f} s", flush=True)


def make(
    out: Path,
    tokenizer: PreTrainedTokenizerFast,
    batches: Iterable[Batch],
    rates: Rates,
    *,
    seed: int,
    threads: int,
    projection: torch.Tensor | None = None,
) -> None:
    """Pretrain a model and save it with its tokenizer."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    model = build_model(Shape(), tokenizer)
    train(model, batches, rates, projection)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
