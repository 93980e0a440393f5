"""Digits that are added later: a curriculum of digit counts on the addition model (STaR, Figure 5).

    python -m examples.addition.added_digits --out .star/added-digits --write docs/runs/added-digits.md

The first iterations ask sums of one and two digits, the later ones sums of three digits as well; sums of four
digits are never asked, only held out. A second arm asks all three counts from the start, with the same number
of questions and steps. A finished iteration is not run again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.addition.arms import HELD_OUT, STAR, TRAIN, Budget, changes
from examples.addition.generate import write_task
from examples.arm import (
    experiment_parser,
    folder_name,
    measured_iterations,
    percents,
    publish,
    run_arm,
    seeds_of,
    seeds_typed,
    time_taken,
)
from star_engine.config.presets import PRESETS, laid_over
from star_engine.config.star import StarConfig
from star_engine.tasks.kind import Kind

MODEL = Path(__file__).parent / "model"
BUDGET = Budget(iterations=6, steps=120, questions=240)
ADDED_AT = 4  # the iteration that asks three digits for the first time
ADDED, FROM_THE_START = f"three digits from iteration {ADDED_AT}", "three digits from the start"
CURRICULA: Mapping[str, list[dict[str, Any]]] = {
    ADDED: [
        {"from_iteration": 1, "groups": ["1", "2"]},
        {"from_iteration": ADDED_AT, "groups": ["1", "2", "3"]},
    ],
    FROM_THE_START: [{"from_iteration": 1, "groups": ["1", "2", "3"]}],
}


@dataclass(frozen=True, slots=True)
class Found:
    """One arm at one seed."""

    arm: str
    seed: int
    base: Mapping[str, float]  # the base model's accuracy by digit count, few-shot with working
    by_digits: tuple[Mapping[str, float], ...]  # held out, by iteration from 1


def settings(arm: str, seed: int) -> StarConfig:
    config = PRESETS["star"](Kind.SCRATCHPAD).model_dump(mode="json") | {"seed": seed}
    own = {"curriculum": CURRICULA[arm], "evaluation": {"baselines": ["few_shot_cot"]}}
    return StarConfig.model_validate(laid_over(laid_over(config, changes(STAR, BUDGET)), own))


def run(out: Path, arm: str, seed: int) -> Found:
    """Run one arm at one seed, or go on with it."""
    task = write_task(out / f"data-{seed}", train=TRAIN, validation=HELD_OUT, seed=seed)
    folder = out / f"{folder_name(arm)}-{seed}"
    directory, _ = run_arm(folder, f"{arm}, seed {seed}", settings(arm, seed), MODEL, *task)
    metrics = directory.metrics()
    by_digits = tuple(one["accuracy_by_group"] for one in measured_iterations(metrics).values())
    base = metrics[0]["baselines"]["few_shot_cot"]["by_group"]
    return Found(arm, seed, base, by_digits)


def page(found: Sequence[Found], seconds: float, command: str) -> Iterator[str]:
    """The table, as lines of Markdown."""
    yield "| arm | seed | 1 digit, by iteration, % | 2 digits | 3 digits | 4 digits, never asked |"
    yield f"|{' --- |' * 6}"
    for one in found:
        if one.arm == ADDED:
            base = (percents([one.base[digits]]) for digits in "1234")
            yield f"| base model, few-shot with working | {one.seed} | {' | '.join(base)} |"
        shares = (percents([by[digits] for by in one.by_digits]) for digits in "1234")
        yield f"| {one.arm} | {one.seed} | {' | '.join(shares)} |"
    yield from ("", time_taken(command, seconds))


def main() -> None:
    chosen = experiment_parser(__doc__, Path(".star/added-digits")).parse_args()
    began = time.monotonic()
    found = [run(chosen.out, arm, seed) for seed in seeds_of(chosen) for arm in CURRICULA]
    command = f"python -m examples.addition.added_digits {seeds_typed(chosen)}"
    publish(page(found, time.monotonic() - began, command), chosen.write)


if __name__ == "__main__":
    main()
