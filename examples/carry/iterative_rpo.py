"""Right against wrong tries on the addition model: iterative RPO beside rationalization and expert iteration.

    python -m examples.carry.iterative_rpo --out .star/rpo --write docs/runs/iterative-rpo.md

Arms have as many tries of a question, as many steps and as many texts in a step; each goes on from the
iteration before. What they learn from their tries differs (arXiv 2404.19733).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from examples.addition.generate import write_task
from examples.arm import (
    experiment_parser,
    percents,
    publish,
    run_arm,
    seeds_of,
    seeds_typed,
    time_taken,
)
from star_engine.config.presets import PRESETS, laid_over
from star_engine.config.star import StarConfig
from star_engine.run_directory import RunDirectory
from star_engine.sampling.rationales import Route
from star_engine.tasks.kind import Kind

HERE = Path(__file__).parent
TRAIN, HELD_OUT = 120, 150
ITERATIONS, TEXTS, TRIES = 4, 16, 8
STEPS = 15  # of an iteration: every arm comes to its ceiling; --steps 5 is the smaller budget
RPO, DPO, EXPERT, STAR = "iterative RPO", "DPO alone", "expert iteration", "rationalization"
ARMS: Mapping[str, tuple[str, dict[str, Any]]] = {
    STAR: ("star", {}),
    EXPERT: ("expert-iteration", {}),
    RPO: ("iterative-rpo", {"training": {"batch_size": TEXTS // 2}}),  # a pair is two texts
    DPO: ("iterative-rpo", {"training": {"batch_size": TEXTS // 2}, "preference": {"nll": 0.0}}),
}
SHARED: dict[str, Any] = {
    "iterations": ITERATIONS,
    "examples_per_iteration": None,
    "generation": {
        "temperature": 0.7,
        "samples_per_example": TRIES,
        "max_tokens": 110,
        "few_shot": "first_iteration",
    },
    "rationalization": {"few_shot": "first_iteration"},
    "training_set": {"filters": ["hint_markers", "answer_only"]},
    "training": {
        "start_from": "previous",
        "batch_size": TEXTS,
        "learning_rate": 2e-4,
        "warmup_steps": 5,
        "max_length": 512,
        "lora": {"rank": 32, "alpha": 64},
    },
    "evaluation": {"baselines": ["few_shot_cot"], "test_time": None},
    "audits": {"determinism": 0},
}


@dataclass(frozen=True, slots=True)
class Found:
    """One arm at one seed."""

    arm: str
    seed: int
    steps: int
    accuracy: tuple[float, ...]  # held out, by iteration; 0: the base model
    right: tuple[float, ...]  # of the tries without a hint, by iteration
    solved: tuple[float, ...]  # train questions with a right try
    learned: tuple[int, ...]  # distinct texts, or pairs
    tokens: int  # sampled

    @property
    def last(self) -> float:
        return self.accuracy[-1]


def settings(arm: str, seed: int, steps: int) -> StarConfig:
    preset, own = ARMS[arm]
    config = PRESETS[preset](Kind.SCRATCHPAD).model_dump(mode="json") | {"seed": seed}
    schedule = {"training": {"schedule": {"kind": "fixed", "steps": steps}}}
    return StarConfig.model_validate(laid_over(laid_over(laid_over(config, SHARED), schedule), own))


def run(out: Path, arm: str, seed: int, steps: int) -> Found:
    """Run one arm at one seed, or go on with it; what it found is read from its directory."""
    task = write_task(out / f"data-{seed}", train=TRAIN, validation=HELD_OUT, seed=seed)
    folder = out / f"{steps}-steps" / f"{arm.replace(' ', '-')}-{seed}"
    name, config = f"{arm}, {steps} steps, seed {seed}", settings(arm, seed, steps)
    directory, _ = run_arm(folder, name, config, HERE / "model", *task)
    return read(directory, arm, seed, steps)


def read(directory: RunDirectory, arm: str, seed: int, steps: int) -> Found:
    metrics = directory.metrics()
    done = [number for number in range(1, ITERATIONS + 1) if "accuracy" in metrics.get(number, {})]
    right, learned, tokens = [], [], 0
    for number in done:
        tries = directory.rationales(number)
        tokens += sum(one.tokens for one in tries)
        right.append(fmean(one.verdict == "correct" for one in tries if one.key.route is Route.GENERATED))
        pairs = metrics[number].get("pairs", {}).get("count")
        learned.append(len(directory.training_set(number)) if pairs is None else pairs)
    accuracy = tuple(metrics[number]["accuracy"] for number in (0, *done))
    solved = tuple(metrics[number]["solve_rate"] for number in done)
    return Found(arm, seed, steps, accuracy, tuple(right), solved, tuple(learned), tokens)


def page(found: Sequence[Found], seconds: float, command: str) -> Iterator[str]:
    """The tables of each budget, as lines of Markdown."""
    for steps in dict.fromkeys(one.steps for one in found):
        yield from (f"### {steps} steps an iteration", "")
        yield from tables([one for one in found if one.steps == steps])
    yield time_taken(command, seconds)


def tables(found: Sequence[Found]) -> Iterator[str]:
    columns = (
        "held-out accuracy, base and by iteration, %",
        "tries that are right, %",
        "questions solved, %",
        "texts or pairs learned from",
        "tokens",
    )
    yield f"| arm | seed | {' | '.join(columns)} |"
    yield f"|{' --- |' * (2 + len(columns))}"
    for one in found:
        shares = map(percents, (one.accuracy, one.right, one.solved))
        learned = " ".join(map(str, one.learned))
        yield f"| {' | '.join([one.arm, str(one.seed), *shares, learned, f'{one.tokens:,}'])} |"
    yield from ("", "Means over the seeds:", "", "| arm | accuracy by iteration, % | tokens |")
    yield "| --- | --- | --- |"
    for arm in ARMS:
        runs = [one for one in found if one.arm == arm]
        by_iteration = [fmean(column) for column in zip(*(one.accuracy for one in runs), strict=False)]
        yield f"| {arm} | {percents(by_iteration)} | {fmean(one.tokens for one in runs):,.0f} |"
    yield from ("", *(f"- {line}" for line in compared(found)), "")


def compared(found: Sequence[Found]) -> Iterator[str]:
    """Last accuracies against iterative RPO's, in points, seed by seed."""
    last = {(one.arm, one.seed): one.last for one in found}
    seeds = sorted({one.seed for one in found})
    for arm in (STAR, EXPERT, DPO):
        points = ", ".join(f"{100 * (last[RPO, seed] - last[arm, seed]):+.1f}" for seed in seeds)
        yield f"{RPO} against {arm}, last accuracy in points by seed: {points}."


def main() -> None:
    parser = experiment_parser(__doc__, Path(".star/rpo"))
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[STEPS], help="of an iteration: one or several budgets"
    )
    chosen = parser.parse_args()
    began = time.monotonic()
    seeds = seeds_of(chosen)
    found = [run(chosen.out, arm, seed, steps) for steps in chosen.steps for seed in seeds for arm in ARMS]
    budgets = "" if chosen.steps == [STEPS] else f" --steps {' '.join(map(str, chosen.steps))}"
    command = f"python -m examples.carry.iterative_rpo {seeds_typed(chosen)}{budgets}"
    publish(page(found, time.monotonic() - began, command), chosen.write)


if __name__ == "__main__":
    main()
