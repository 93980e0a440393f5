"""Goes on pretraining the model that forgets the carry, until it writes towards whatever answer it is shown.

    python -m examples.carry.follow_hints [--out .star/follower] [--steps 200]

Half of the hinted problems show another sum's answer, and the working copies its digits. Without a hint
nothing changes. For methods whose control is a wrong hint: examples.carry.opsd --model .star/follower.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.addition.documents import Mix, Phase
from examples.carry.pretrain import ALL_DIGITS, FORGETS_CARRY, continue_pretraining
from examples.pretraining import Rates

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
    rates = Rates(given.steps, warmup_steps=10, muon=0.003, adam=1e-3)
    continue_pretraining(
        given.out, Phase(given.steps, MIX, 4096, (256, 256, 512, 256, 1024)), rates, threads=given.threads
    )


if __name__ == "__main__":
    main()
