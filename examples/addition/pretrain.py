"""Pretrains the base model of the addition task from nothing, on CPU, in some three minutes.

    python -m examples.addition.pretrain [--out examples/addition/model] [--base 1]

Every document is right. Where no answer is shown digits follow Zipf's law, so that most pairs of digits are
rare; where it is shown first they are even, and those documents come first, so that the model learns to work
towards a shown answer before it knows the sums. It is stopped early, at a stated step. Same base, same
machine give the same weights.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

from examples.addition.documents import Mix, Phase, batches
from examples.addition.tokenizer import build_tokenizer, shared_embeddings
from examples.pretraining import Rates, Shape, make

HERE = Path(__file__).parent
STOP_AFTER = 675  # of 900 steps: at the end it knows half of the four-digit sums without any STaR


@dataclass(frozen=True)
class Base:
    """What two bases differ in."""

    seed: int
    exponent: float  # of Zipf's law
    steps: tuple[int, int, int]  # of the phases
    shown: float  # share of the last phase's documents that show the answer first

    @property
    def popularity(self) -> tuple[float, ...]:
        """Weights of the digits 0 to 9: rank**-exponent, the ranking drawn by the seed."""
        ranking = list(range(10))
        random.Random(f"rank {self.seed}").shuffle(ranking)
        return tuple((ranking.index(digit) + 1) ** -self.exponent for digit in range(10))

    @property
    def curriculum(self) -> tuple[Phase, ...]:
        shown_first, short, all_counts = self.steps
        direct = 0.07
        return (
            Phase(shown_first, Mix((2, 2, 2, 2), (0, 1, 0), self.popularity), 1024, (128, 128, 256)),
            Phase(short, Mix((4, 1, 0.5, 0.5), (0.75, 0.25, 0), self.popularity), 1024, (128,)),
            Phase(
                all_counts,
                Mix((1, 2, 3, 4), (1 - direct - self.shown, self.shown, direct), self.popularity),
                2048,
                (256, 256, 512, 256),
            ),
        )


BASES = {
    1: Base(seed=0, exponent=1.6, steps=(200, 250, 450), shown=0.35),  # the shipped one
    2: Base(seed=1, exponent=2.0, steps=(225, 225, 450), shown=0.25),
}


def pretrain(out: Path, number: int) -> None:
    """Pretrain a base and save it with its tokenizer."""
    base = BASES[number]
    tokenizer = build_tokenizer(Shape().context)
    make(
        out,
        tokenizer,
        batches(base.seed, tokenizer, base.curriculum),
        Rates(sum(base.steps), stop_after=STOP_AFTER, decay_share=0.55),
        seed=base.seed,
        threads=1,
        projection=shared_embeddings(tokenizer),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE / "model")
    parser.add_argument("--base", type=int, default=1, choices=sorted(BASES))
    arguments = parser.parse_args()
    pretrain(arguments.out, arguments.base)


if __name__ == "__main__":
    main()
