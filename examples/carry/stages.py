"""The stage-wise climb without rationalization, on a base model that forgets the carry by degrees.

    python -m examples.carry.stages --out .star/stages --write docs/runs/stages.md

The shipped model is pretrained a little further, so that it forgets the carry rarely with few digits and
mostly with many. Without the hint a digit count is learned only once the one below it is; with it all can
rise at once (STaR, arXiv 2203.14465, Figure 4). The mistake is planted: this shows the loop, not a skill.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.addition.documents import Mix, Phase
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
from examples.carry.pretrain import ALL_DIGITS, continue_pretraining
from examples.pretraining import Rates
from star_engine.config.presets import PRESETS, laid_over
from star_engine.config.star import StarConfig
from star_engine.run_directory import RunDirectory
from star_engine.tasks.kind import Kind

FORGETS = {1: 0.0, 2: 0.30, 3: 0.62, 4: 0.75}  # above one half greedy decoding never carries
PRETRAINING_STEPS = 120
TRAIN, HELD_OUT, ASKED = 360, 160, 240
ITERATIONS, DIRECT_STEPS = 7, 100
SOLVED = 0.5  # of a digit count's held-out sums: the count is learned
WITH, WITHOUT, SAMPLED = "with rationalization", "without rationalization", "without, 4 tries at T 0.7"
DIRECT = "direct fine-tuning"
ARMS: Mapping[str, tuple[str, dict[str, Any]]] = {
    WITHOUT: ("star-without-rationalization", {"evaluation": {"baselines": ["few_shot_cot"]}}),
    WITH: ("star", {}),
    SAMPLED: ("star-without-rationalization", {"generation": {"temperature": 0.7, "samples_per_example": 4}}),
    DIRECT: (
        "direct-fine-tune",
        {
            "iterations": 1,
            "examples_per_iteration": None,
            "training": {"schedule": {"kind": "fixed", "steps": DIRECT_STEPS}, "learning_rate": 1e-3},
        },
    ),
}
SHARED: dict[str, Any] = {
    "iterations": ITERATIONS,
    "examples_per_iteration": ASKED,
    "generation": {"max_tokens": 96, "few_shot": "first_iteration"},
    "training": {
        "schedule": {"kind": "geometric", "start": 4, "factor": 1.2},
        "batch_size": 16,
        "learning_rate": 3e-4,
        "warmup_steps": 2,
        "lora": {"rank": 32, "alpha": 64},
    },
    "evaluation": {"baselines": []},
    "audits": {"determinism": 0, "spark_level": None},
}


@dataclass(frozen=True, slots=True)
class Found:
    """One arm at one seed."""

    arm: str
    seed: int
    base: float | None  # held-out accuracy of the base model, few-shot with working; where measured
    accuracy: tuple[float, ...]  # held out, by iteration from 1
    by_digits: tuple[Mapping[str, float], ...]

    def learned(self, digits: str) -> int:
        """The first iteration that solves SOLVED of the sums of so many digits; if none, behind the last."""
        solved = (n for n, shares in enumerate(self.by_digits, 1) if shares[digits] >= SOLVED)
        return next(solved, len(self.by_digits) + 1)


def settings(arm: str, seed: int) -> StarConfig:
    preset, own = ARMS[arm]
    config = PRESETS[preset](Kind.SCRATCHPAD).model_dump(mode="json") | {"seed": seed}
    return StarConfig.model_validate(laid_over(laid_over(config, SHARED), own))


def base_model(folder: Path) -> Path:
    """Make the base model where it is not there yet."""
    if not (folder / "tokenizer.json").exists():
        mix = Mix((1, 2, 3, 4), (0.6, 0.34, 0.06), largest_digits=ALL_DIGITS, forgets_carry=FORGETS)
        rates = Rates(PRETRAINING_STEPS, warmup_steps=10, muon=0.004, adam=1e-3)
        phase = Phase(PRETRAINING_STEPS, mix, 2048, (256, 256, 512, 256, 1024))
        continue_pretraining(folder, phase, rates, threads=1)
    return folder


def run(out: Path, arm: str, seed: int) -> Found:
    """Run one arm at one seed, or go on with it; what it found is read from its directory."""
    task = write_task(out / f"data-{seed}", train=TRAIN, validation=HELD_OUT, seed=seed)
    folder = out / f"{folder_name(arm)}-{seed}"
    directory, _ = run_arm(
        folder, f"{arm}, seed {seed}", settings(arm, seed), base_model(out / "model"), *task
    )
    return read(directory, arm, seed)


def read(directory: RunDirectory, arm: str, seed: int) -> Found:
    metrics = directory.metrics()
    measured = measured_iterations(metrics)
    base = metrics.get(0, {}).get("baselines", {}).get("few_shot_cot", {}).get("accuracy")
    return Found(
        arm,
        seed,
        base,
        tuple(one["accuracy"] for one in measured.values()),
        tuple(one["accuracy_by_group"] for one in measured.values()),
    )


def page(found: Sequence[Found], seconds: float, command: str) -> Iterator[str]:
    """The tables, as lines of Markdown."""
    yield "| arm | seed | all, by iteration, % | 2 digits | 3 digits | 4 digits |"
    yield f"|{' --- |' * 6}"
    for one in found:
        if one.base is not None:
            yield f"| base model, few-shot with working | {one.seed} | {percents([one.base])} | | | |"
        shares = (percents([by[digits] for by in one.by_digits]) for digits in "234")
        yield f"| {one.arm} | {one.seed} | {percents(one.accuracy)} | {' | '.join(shares)} |"
    yield from ("", f"The first iteration that solves {SOLVED:.0%} of the sums of a digit count:", "")
    yield "| arm | seed | 2 digits | 3 digits | 4 digits |"
    yield f"|{' --- |' * 5}"
    for one in found:
        if len(one.by_digits) > 1:
            firsts = (one.learned(digits) for digits in "234")
            said = (str(first) if first <= len(one.by_digits) else "none" for first in firsts)
            yield f"| {one.arm} | {one.seed} | {' | '.join(said)} |"
    yield from ("", time_taken(command, seconds))


def main() -> None:
    chosen = experiment_parser(__doc__, Path(".star/stages")).parse_args()
    began = time.monotonic()
    found = [run(chosen.out, arm, seed) for seed in seeds_of(chosen) for arm in ARMS]
    command = f"python -m examples.carry.stages {seeds_typed(chosen)}"
    publish(page(found, time.monotonic() - began, command), chosen.write)


if __name__ == "__main__":
    main()
