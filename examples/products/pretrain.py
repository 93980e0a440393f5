"""Pretrains the base model of the products from nothing, on CPU, in a few minutes.

    python -m examples.products.pretrain --out .star/products/model

Same seed, same machine and same thread count give the same weights.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from examples.addition.pretrain import IGNORED, PretrainConfig, build_model, optimizers
from examples.products.task import build_tokenizer, draw_problem

CONTEXT = 512
SHAPE = PretrainConfig()  # of the addition model, with its optimizers
ROW, ROWS, STEPS, WARMUP = 256, 8, 800, 30
MOST_PROBLEMS = 5  # of a document


def packed_row(rng: random.Random, tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    """Token ids and labels: whole documents, each closed by the end-of-text token; the last one is cut."""
    ids: list[int] = []
    labels: list[int] = []
    while len(ids) < ROW:
        for number in range(rng.randint(1, MOST_PROBLEMS)):
            pieces = draw_problem(rng)
            for text, learned in [("\n\n", True), *pieces] if number else pieces:
                piece = tokenizer(text)["input_ids"]
                ids += piece
                labels += piece if learned else [IGNORED] * len(piece)
        ids.append(tokenizer.eos_token_id)
        labels.append(tokenizer.eos_token_id)
    return ids[:ROW], labels[:ROW]


def pretrain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    """Train `model` in place and print the loss (nats a learned token) every 50 steps."""
    rng, began = random.Random(seed), time.monotonic()
    stepped = optimizers(SHAPE, model)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in stepped]
    model.train()
    for step in range(STEPS):
        drawn = [packed_row(rng, tokenizer) for _ in range(ROWS)]
        ids, labels = (torch.tensor(column) for column in zip(*drawn, strict=True))
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        share = min(1.0, (step + 1) / WARMUP, (STEPS - step) / (STEPS * 0.5))
        for optimizer, peak in zip(stepped, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}  loss {loss.item():.4f}  {time.monotonic() - began:.0f} s", flush=True)


def make(out: Path, seed: int = 0) -> None:
    """Pretrain a model and save it with its tokenizer."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
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
    arguments = parser.parse_args()
    make(arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
