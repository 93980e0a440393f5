"""Pretrains the base model of the sums from nothing, on CPU, in a few minutes.

    python -m examples.sums.pretrain --out .star/sums/model

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
from examples.sums.task import build_tokenizer, draw_document

CONTEXT = 512
ROW, ROWS, STEPS = 256, 8, 700
MOST_PROBLEMS = 6  # of a document


def packed_row(rng: random.Random, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Whole documents back to back, each closed by the end-of-text token; the last one is cut."""
    ids: list[int] = []
    while len(ids) < ROW:
        ids += [*tokenizer(draw_document(rng, MOST_PROBLEMS))["input_ids"], tokenizer.eos_token_id]
    return ids[:ROW]


def batches(seed: int, tokenizer: PreTrainedTokenizerFast) -> Iterator[pretraining.Batch]:
    rng = random.Random(seed)
    while True:
        ids = torch.tensor([packed_row(rng, tokenizer) for _ in range(ROWS)])
        yield ids, ids


def make(out: Path, seed: int = 0, threads: int = 2) -> None:
    """Pretrain a model and save it with its tokenizer."""
    tokenizer = build_tokenizer(CONTEXT)
    rates = pretraining.Rates(STEPS)
    pretraining.make(out, tokenizer, batches(seed, tokenizer), rates, seed=seed, threads=threads)


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
