"""How hot to sample, on sums of four digits: B-STaR's controller against every temperature of its grid.

    python -m examples.sums.b_star --out .star/sums --write docs/runs/b-star.md

Arms differ in nothing but the temperature: one arm for each of the grid, held fixed, and one that tries the
grid on some questions before each iteration and takes the one with the best balance score
(arXiv 2412.17256). The fixed arms together are the sweep that the controller is to save.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from examples.arm import percents, run_arm
from examples.sums.pretrain import make
from examples.sums.task import write_task
from star_engine.config.presets import b_star
from star_engine.config.star import StarConfig
from star_engine.run_directory import RunDirectory
from star_engine.tasks.kind import Kind

TRAIN, HELD_OUT = 120, 200
ITERATIONS, STEPS, BATCH = 4, 15, 16
TRIES, ENOUGH = 16, 4
GRID = (0.4, 0.7, 1.0, 1.3)
PROBED = 24
CONTROLLED = "controller"
COLUMNS = (
    "held-out accuracy by iteration, %",
    "temperature",
    "balance score",
    f"Pass@{TRIES}-{ENOUGH}, %",
    "distinct among right, %",
    "tokens",
)
ARMS = (*(f"T = {temperature}" for temperature in GRID), CONTROLLED)
SHARED: dict[str, Any] = {
    "iterations": ITERATIONS,
    "generation": {"samples_per_example": TRIES, "max_tokens": 48},
    "training_set": {"max_per_example": 8},
    "training": {
        "start_from": "previous",
        "schedule": {"kind": "fixed", "steps": STEPS},
        "batch_size": BATCH,
        "learning_rate": 4e-4,
        "warmup_steps": 5,
        "max_length": 256,
        "lora": {"rank": 16, "alpha": 32},
    },
    "evaluation": {"baselines": ["few_shot_cot"]},
    # The base model's most likely text is wrong by design, so greedy it shows no spark.
    "audits": {"determinism": 0, "spark_level": None},
}


@dataclass(frozen=True, slots=True)
class Found:
    """One arm at one seed; by iteration, except for `accuracy`, which begins with the base model's."""

    arm: str
    seed: int
    accuracy: tuple[float, ...]  # greedy, held out
    temperatures: tuple[float, ...]
    scores: tuple[float | None, ...]  # the balance score of the temperature taken; None: not controlled
    enough: tuple[float, ...]  # Pass@16-4: train questions with 4 distinct right texts or more
    distinct: tuple[float | None, ...]  # share of distinct ones among right tries
    tokens: int  # sampled, probes included


def settings(arm: str, seed: int) -> StarConfig:
    config = b_star(Kind.NUMERIC).model_dump(mode="json") | {"seed": seed}
    for name, value in SHARED.items():
        whole = isinstance(value, dict) and name != "training"
        config[name] = config[name] | value if whole else value
    if arm == CONTROLLED:
        config["controller"] |= {"temperatures": GRID, "probe_examples": PROBED}
    else:
        config["controller"] = None
        config["generation"]["temperature"] = GRID[ARMS.index(arm)]
    return StarConfig.model_validate(config)


def run(out: Path, arm: str, seed: int) -> Found:
    """Run one arm at one seed, or go on with it; what it found is read from its directory."""
    task = write_task(out / f"data-{seed}", train=TRAIN, validation=HELD_OUT, seed=seed)
    folder = out / f"{arm.replace(' = ', '-')}-{seed}"
    directory, _ = run_arm(folder, f"{arm}, seed {seed}", settings(arm, seed), out / "model", *task)
    return read(directory, arm, seed)


def read(directory: RunDirectory, arm: str, seed: int) -> Found:
    metrics, tokens = directory.metrics(), 0
    temperatures, scores, enough, distinct = [], [], [], []
    for number in range(1, ITERATIONS + 1):
        of_iteration = metrics[number]
        tokens += sum(one.tokens for one in directory.rationales(number) if not one.reused)
        control = of_iteration.get("control")
        temperatures.append(control["temperature"] if control else GRID[ARMS.index(arm)])
        scores.append(control["score"] if control else None)
        explored = of_iteration["audits"]["exploration"]
        enough.append(explored["pass"][str(ENOUGH)])
        distinct.append(explored["distinct_share"])
    accuracy = tuple(metrics[number]["accuracy"] for number in range(ITERATIONS + 1))
    return Found(
        arm, seed, accuracy, tuple(temperatures), tuple(scores), tuple(enough), tuple(distinct), tokens
    )


def page(found: Sequence[Found], seconds: float, command: str) -> Iterator[str]:
    """The report, as lines of Markdown."""
    yield from (
        "# B-STaR on sums of four digits",
        "",
        "Sums of four digits may be added in any order, so a question has many right texts",
        "(`examples/sums/task.py`). Nothing but the temperature differs between arms.",
        f"{TRAIN} train and {HELD_OUT} held-out sums, {ITERATIONS} iterations of {STEPS} steps of {BATCH}",
        f"rows, {TRIES} tries of a question, at most 8 right ones kept; weights carried on. The controller",
        f"tries {', '.join(map(str, GRID))} on {PROBED} questions before each iteration",
        "(arXiv 2412.17256; [what it does](../steering.md)).",
        "",
        "Said before running: the controller ends within 2 points of the best fixed temperature, with less",
        "than half of the tokens of the sweep that finds it.",
        "",
        f"| arm | seed | {' | '.join(COLUMNS)} |",
        f"|{' --- |' * 8}",
    )
    for one in found:
        cells = [one.arm, str(one.seed), percents(one.accuracy), " ".join(map(str, one.temperatures))]
        cells.append(" ".join("-" if score is None else f"{score:.2f}" for score in one.scores))
        cells += [percents(one.enough), percents(one.distinct), f"{one.tokens:,}"]
        yield f"| {' | '.join(cells)} |"
    yield from ("", "Means over the seeds:", "", "| arm | last accuracy, % | tokens |", "| --- | --- | --- |")
    for arm in ARMS:
        runs = [one for one in found if one.arm == arm]
        last = fmean(one.accuracy[-1] for one in runs)
        yield f"| {arm} | {100 * last:.1f} | {fmean(one.tokens for one in runs):,.0f} |"
    yield from ("", *(f"- {line}" for line in compared(found)), "")
    took = f"`{command}` took {seconds:,.0f} s on two shared CPU cores."
    yield f"{took} The first accuracy is the base model's."


def compared(found: Sequence[Found]) -> Iterator[str]:
    """The controller against the best fixed temperature of its seed, and against the whole sweep."""
    for one in (each for each in found if each.arm == CONTROLLED):
        fixed = [other for other in found if other.seed == one.seed and other.arm != CONTROLLED]
        best = max(fixed, key=lambda other: other.accuracy[-1])
        points = 100 * (one.accuracy[-1] - best.accuracy[-1])
        share = one.tokens / sum(other.tokens for other in fixed)
        yield (
            f"Seed {one.seed}: {points:+.1f} points against {best.arm}, the best of the sweep, with "
            f"{share:.0%} of the sweep's tokens."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".star/sums"))
    parser.add_argument("--write", type=Path, help="where the page goes")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    if not (chosen.out / "model" / "config.json").exists():
        make(chosen.out / "model")
    began = time.monotonic()
    found = [run(chosen.out, arm, seed) for seed in range(chosen.seeds) for arm in ARMS]
    command = f"python -m examples.sums.b_star --seeds {chosen.seeds}"
    text = "\n".join(page(found, time.monotonic() - began, command)) + "\n"
    print(text)
    if chosen.write is not None:
        chosen.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
