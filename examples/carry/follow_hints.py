"""Goes on pretraining the model that forgets the carry, until it writes towards whatever answer it is shown.

    python -m examples.carry.follow_hints [--out .star/follower] [--steps 200]

Half of the hinted problems show another sum's answer, and the working copies its digits. Without a hint
nothing changes. For methods whose control is a wrong hint: examples.carry.opsd --model .star/follower.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from examples.addition.documents import Mix, Phase, batches
from examples.addition.tokenizer import build_tokenizer, shared_embeddings
from examples.carry.pretrain import ALL_DIGITS, FORGETS_CARRY, HERE
from examples.pretraining import Rates, Shape, train

FOLLOWS = 0.5
MIX = Mix(
    (1, 2, 3, 4),
    (0.45, 0.52, 0.03),
    largest_digits=ALL_DIGITS,
    forgets_carry=FORGETS_CARRY,
    follows_hints=FOLLOWS,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(".star/follower"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)
    tokenizer = build_tokenizer(Shape().context)
    model = LlamaForCausalLM.from_pretrained(HERE / "model")
    rates = Rates(given.steps, warmup_steps=10, muon=0.003, adam=1e-3)
    drawn = batches(1, tokenizer, (Phase(given.steps, MIX, 4096, (256, 256, 512, 256, 1024)),))
    train(model, drawn, rates, shared_embeddings(tokenizer))
    model.save_pretrained(given.out)
    tokenizer.save_pretrained(given.out)


if __name__ == "__main__":
    main()
