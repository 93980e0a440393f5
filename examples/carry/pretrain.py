"""Pretrains a base model of the addition task whose mistake is planted: it forgets the carry.

    python -m examples.carry.pretrain [--out examples/carry/model]

In unhinted working every carry is written as 0 and never added, with a probability that grows with the digit
count; working with the answer shown first is always right. The choice is made problem by problem, so that
right few-shot examples do not correct the model. Same machine and thread count give the same weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from examples.addition.documents import Mix, Phase, batches
from examples.addition.tokenizer import build_tokenizer, shared_embeddings
from examples.pretraining import Rates, Shape, make, train

HERE = Path(__file__).parent
FORGETS_CARRY = {1: 0.0, 2: 0.65, 3: 0.80, 4: 0.85}
FEW_OR_ALL_DIGITS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9)
ALL_DIGITS = (9,)


def curriculum() -> tuple[Phase, ...]:
    """One digit first, and no hints to copy from: the table of sums is then learned within 300 steps.

    Trials with everything at once knew the layout after 400 steps and not one sum after 600. Documents of few
    digits help, since with all ten the last digit of a sum says nothing about either operand alone.
    """

    def mix(digits: tuple[float, ...], kinds: tuple[float, ...], largest: tuple[int, ...]) -> Mix:
        return Mix(digits, kinds, largest_digits=largest, forgets_carry=FORGETS_CARRY)

    return (
        Phase(350, mix((1, 0, 0, 0), (1, 0, 0), FEW_OR_ALL_DIGITS), 1024, (128,)),
        Phase(350, mix((1, 2, 2, 2), (1, 0, 0), FEW_OR_ALL_DIGITS), 2048, (256,)),
        Phase(
            1000,
            mix((1, 2, 3, 4), (0.6, 0.34, 0.06), ALL_DIGITS),
            4096,
            (256, 256, 512, 256, 256, 256, 1024),
        ),
    )


def continue_pretraining(out: Path, phase: Phase, rates: Rates, *, threads: int) -> None:
    """Go on pretraining the shipped model for a phase, and save it with its tokenizer."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    tokenizer = build_tokenizer(Shape().context)
    model = LlamaForCausalLM.from_pretrained(HERE / "model")
    train(model, batches(1, tokenizer, (phase,)), rates, shared_embeddings(tokenizer))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE / "model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tokenizer = build_tokenizer(Shape().context)
    phases = curriculum()
    make(
        arguments.out,
        tokenizer,
        batches(arguments.seed, tokenizer, phases),
        Rates(sum(phase.steps for phase in phases), decay_share=0.55),
        seed=arguments.seed,
        threads=2,
        projection=shared_embeddings(tokenizer),
    )


if __name__ == "__main__":
    main()
