"""Pretrains the base model of the products from nothing, on CPU, in a few minutes.

    python -m examples.products.pretrain --out .star/products/model

Same seed, same machine and same thread count give the same weights.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from examples import pretraining
from examples.pretraining import IGNORED
from examples.products.task import build_tokenizer, draw_problem

CONTEXT = 512
ROW, ROWS, STEPS = 256, 8, 800
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


def batches(seed: int, tokenizer: PreTrainedTokenizerFast) -> Iterator[pretraining.Batch]:
    rng = random.Random(seed)
    while True:
        drawn = [packed_row(rng, tokenizer) for _ in range(ROWS)]
        ids, labels = (torch.tensor(column) for column in zip(*drawn, strict=True))
        yield ids, labels


def make(out: Path, seed: int = 0) -> None:
    """Pretrain a model and save it with its tokenizer."""
    tokenizer = build_tokenizer(CONTEXT)
    rates = pretraining.Rates(STEPS)
    pretraining.make(out, tokenizer, batches(seed, tokenizer), rates, seed=seed, threads=1)


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
