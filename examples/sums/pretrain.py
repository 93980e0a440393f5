"""Pretrains the base model of the sums from nothing, on CPU, in a few minutes.

    python -m examples.sums.pretrain --out .star/sums/model

Same seed, same machine and same thread count give the same weights.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from examples.addition.pretrain import PretrainConfig, build_model, optimizers
from examples.sums.task import build_tokenizer, draw_document

CONTEXT = 512
SHAPE = PretrainConfig()  # of the addition model, with its optimizers
ROW, ROWS, STEPS, WARMUP = 256, 8, 700, 30
MOST_PROBLEMS = 6  # of a document


def packed_row(rng: random.Random, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Whole documents back to back, each closed by the end-of-text token; the last one is cut."""
    ids: list[int] = []
    while len(ids) < ROW:
        ids += [*tokenizer(draw_document(rng, MOST_PROBLEMS))["input_ids"], tokenizer.eos_token_id]
    return ids[:ROW]


def pretrain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    """Train `model` in place and print the loss (nats a token) every 50 steps."""
    rng, began = random.Random(seed), time.monotonic()
    stepped = optimizers(SHAPE, model)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in stepped]
    model.train()
    for step in range(STEPS):
        ids = torch.tensor([packed_row(rng, tokenizer) for _ in range(ROWS)])
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        share = min(1.0, (step + 1) / WARMUP, (STEPS - step) / (STEPS * 0.5))
        for optimizer, peak in zip(stepped, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}  loss {loss.item():.4f}  {time.monotonic() - began:.0f} s", flush=True)


def make(out: Path, seed: int = 0, threads: int = 2) -> None:
    """Pretrain a model and save it with its tokenizer."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    tokenizer = build_tokenizer(CONTEXT)
    model = build_model(SHAPE, tokenizer)
    pretrain(model, tokenizer, seed)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    make(arguments.out, arguments.seed, arguments.threads)


if __name__ == "__main__":
    main()
