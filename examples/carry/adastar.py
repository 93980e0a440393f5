"""Which examples an iteration asks, on the addition model: AdaSTaR against a draw by the seed.

    python -m examples.carry.adastar --out .star/adastar --write docs/runs/adastar.md

Three arms with the same training (steps, batch, all training sets so far) and the same sampling (one try and
one with the hint): every train example in each iteration, as STaR does; as many as the steps need, drawn by
the seed; and the adaptive order of arXiv 2505.16322. The middle arm is the control: it tells the order from
the smaller number.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from examples.addition.generate import write_task
from examples.arm import run_arm
from star_engine.config.presets import adastar
from star_engine.config.star import StarConfig
from star_engine.run_directory import RunDirectory
from star_engine.tasks.kind import Kind

HERE = Path(__file__).parent
TRAIN, HELD_OUT = 300, 150
ITERATIONS, STEPS, BATCH = 6, 12, 8
TARGETS = (0.7, 0.8, 0.9)
SHARED: dict[str, Any] = {
    "iterations": ITERATIONS,
    "generation": {"max_tokens": 110},
    "training": {
        "schedule": {"kind": "fixed", "steps": STEPS},
        "batch_size": BATCH,
        "learning_rate": 1e-3,
        "warmup_steps": 5,
        "max_length": 512,
        "lora": {"rank": 32, "alpha": 64},
    },
    "evaluation": {"baselines": ["few_shot_cot"]},
    "audits": {"determinism": 0},
}
ARMS: Mapping[str, dict[str, Any]] = {
    "every example": {"selection": {"order": "drawn", "max_unsolved": None}},
    "drawn, as many as needed": {
        "selection": {"order": "drawn", "max_unsolved": None},
        "examples_per_iteration": STEPS * BATCH,
    },
    "adaptive": {"selection": {"order": "adaptive"}},
}


@dataclass(frozen=True, slots=True)
class Found:
    """One arm at one seed."""

    arm: str
    seed: int
    accuracy: tuple[float, ...]  # held out, by iteration; 0: the base model
    tokens: tuple[int, ...]  # sampled up to the end of each iteration
    trained: Counter[str]  # how often each train example was in an iteration's own training set
    surplus: int  # examples that were asked and not used
    examples: int  # to train on

    def until(self, accuracy: float) -> int | None:
        """Tokens sampled until this accuracy; None: it was not reached."""
        reached = (n for n, one in enumerate(self.accuracy[1:]) if one >= accuracy)
        return next((self.tokens[n] for n in reached), None)

    @property
    def spread(self) -> float:
        """Standard deviation of the times trained, over all train examples."""
        return pstdev([*self.trained.values(), *([0] * (self.examples - len(self.trained)))])


def settings(arm: str, seed: int) -> StarConfig:
    config = adastar(Kind.SCRATCHPAD).model_dump(mode="json") | {"seed": seed}
    for changes in (SHARED, ARMS[arm]):
        for name, value in changes.items():
            whole = isinstance(value, dict) and name != "training"
            config[name] = config[name] | value if whole else value
    return StarConfig.model_validate(config)


def run(out: Path, arm: str, seed: int) -> Found:
    """Run one arm at one seed, or go on with it; what it found is read from its directory."""
    task = write_task(out / f"data-{seed}", train=TRAIN, validation=HELD_OUT, seed=seed)
    folder = out / f"{arm.replace(' ', '-').replace(',', '')}-{seed}"
    directory, examples = run_arm(folder, f"{arm}, seed {seed}", settings(arm, seed), HERE / "model", *task)
    return read(directory, arm, seed, examples)


def read(directory: RunDirectory, arm: str, seed: int, examples: int) -> Found:
    metrics = directory.metrics()
    tokens, trained, surplus, total = [], Counter[str](), 0, 0
    for number in range(1, ITERATIONS + 1):
        tries = directory.rationales(number)
        total += sum(one.tokens for one in tries)
        tokens.append(total)
        trained.update({row.key.example_id for row in directory.training_set(number)})
        selected = directory.selection(number)
        if selected is not None:
            names = {example.key.example_id for example in tries}
            surplus += len(names) - len(selected.used_positions)
    accuracy = tuple(metrics[number]["accuracy"] for number in range(ITERATIONS + 1))
    return Found(arm, seed, accuracy, tuple(tokens), trained, surplus, examples)


def page(found: Sequence[Found], seconds: float, command: str) -> Iterator[str]:
    """The report, as lines of Markdown."""
    yield from (
        "# AdaSTaR on the addition model",
        "",
        "[Additions by a model that forgets the carry](../../examples/carry/README.md);",
        "which examples are asked is the only difference between arms.",
        f"{found[0].examples} train and up to {HELD_OUT} held-out additions of 1 to 4 digits,",
        f"{ITERATIONS} iterations of {STEPS} steps of {BATCH} rows, one try at T = 1.0 and top-p 0.9 and one",
        "with the hint, training on all training sets so far",
        "(arXiv 2505.16322; [what it does](../steering.md)).",
        "",
        "| arm | seed | held-out accuracy by iteration, % | "
        + " | ".join(f"tokens to {target:.0%}" for target in TARGETS)
        + " | all tokens | spread of times trained | examples trained |",
        f"|{' --- |' * (6 + len(TARGETS))}",
    )
    for one in found:
        by_iteration = " ".join(f"{100 * value:.0f}" for value in one.accuracy)
        until = [shown(one.until(target)) for target in TARGETS]
        cells = [one.arm, str(one.seed), by_iteration, *until, f"{one.tokens[-1]:,}", f"{one.spread:.2f}"]
        yield f"| {' | '.join([*cells, str(len(one.trained))])} |"
    yield from ("", "Means over the seeds:", "")
    yield "| arm | last accuracy, % | " + " | ".join(f"tokens to {t:.0%}" for t in TARGETS) + " | spread |"
    yield f"|{' --- |' * (3 + len(TARGETS))}"
    for arm in ARMS:
        yield means(arm, [one for one in found if one.arm == arm])
    yield from ("", *(f"- {line}" for line in compared(found)), "")
    took = f"`{command}` took {seconds:,.0f} s on two shared CPU cores."
    yield f"{took} The first accuracy is the base model's."


def means(arm: str, runs: Sequence[Found]) -> str:
    until = []
    for target in TARGETS:
        reached = [tokens for one in runs if (tokens := one.until(target)) is not None]
        until.append(f"{fmean(reached):,.0f} ({len(reached)} of {len(runs)})" if reached else "not reached")
    last, spread = fmean(one.accuracy[-1] for one in runs), fmean(one.spread for one in runs)
    return f"| {arm} | {100 * last:.1f} | {' | '.join(until)} | {spread:.2f} |"


def compared(found: Sequence[Found]) -> Iterator[str]:
    """Adaptive against each other arm, seed by seed: tokens to each target, and the last accuracy."""
    by_arm = {(one.arm, one.seed): one for one in found}
    adaptive = [one for one in found if one.arm == "adaptive"]
    for arm in (name for name in ARMS if name != "adaptive"):
        for target in TARGETS:
            pairs = [(one.until(target), by_arm[arm, one.seed].until(target)) for one in adaptive]
            saved = [f"{100 * (1 - mine / other):+.0f} %" if mine and other else "-" for mine, other in pairs]
            yield f"Tokens saved to {target:.0%} against {arm}, by seed: {', '.join(saved)}."
        points = [100 * (one.accuracy[-1] - by_arm[arm, one.seed].accuracy[-1]) for one in adaptive]
        yield f"Last accuracy against {arm}, in points by seed: {', '.join(f'{one:+.1f}' for one in points)}."


def shown(tokens: int | None) -> str:
    return "-" if tokens is None else f"{tokens:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".star/adastar"))
    parser.add_argument("--write", type=Path, help="where the page goes")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    began = time.monotonic()
    found = [run(chosen.out, arm, seed) for seed in range(chosen.seeds) for arm in ARMS]
    command = f"python -m examples.carry.adastar --seeds {chosen.seeds}"
    text = "\n".join(page(found, time.monotonic() - began, command)) + "\n"
    print(text)
    if chosen.write is not None:
        chosen.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
