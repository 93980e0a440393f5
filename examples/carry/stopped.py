"""V-STaR's verifier as a job trains it, ended by best of k on held-out train questions (arXiv 2402.06457).

    python -m examples.carry.stopped --out .star/stopped

One iteration of the preset `v-star` on the model that forgets the carry, whose generator learns next to
nothing on purpose: what is shown is how the verifier ranks after every 25 steps, where its training ends, and
how its best state ranks the answers to other questions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from examples.addition.generate import write_task
from examples.arm import run_arm, time_taken
from star_engine.config.presets import PRESETS, laid_over
from star_engine.config.star import StarConfig
from star_engine.evaluation.candidates import curve_label
from star_engine.tasks.kind import Kind

HERE = Path(__file__).parent
TRAIN, HELD_OUT = 60, 48
SHARED: Mapping[str, Any] = {
    "iterations": 1,
    "generation": {"max_tokens": 110},
    "training": {
        "schedule": {"kind": "fixed", "steps": 2},
        "learning_rate": 1e-5,
        "batch_size": 16,
        "checkpoint_every": 25,
        "warmup_steps": 5,
        "max_length": 512,
        "lora": {"rank": 32, "alpha": 64},
    },
    "trained_verifier": {
        "schedule": {"kind": "fixed", "steps": 300},
        "learning_rate": 2e-4,
        "held_out": 0.25,
        "stop": {"k": 16, "patience": 3},
    },
    "evaluation": {"baselines": ["few_shot_cot"], "test_time": {"samples": 16}},
    "audits": {"determinism": 0},
}


def settings(seed: int) -> StarConfig:
    config = PRESETS["v-star"](Kind.SCRATCHPAD).model_dump(mode="json") | {"seed": seed}
    return StarConfig.model_validate(laid_over(config, dict(SHARED)))


def page(metrics: Mapping[int, Mapping[str, Any]], seconds: float, command: str) -> Iterator[str]:
    """What the verifier was ended by, and how it ranks, as lines of Markdown."""
    report = metrics[1]["verifier_training"]
    stop, verified = report["stop"], metrics[1]["verifier_verification"]
    steps = [str(one["step"]) for one in stop["looks"]]
    shares = [f"{100 * one['best_of_k']:.1f}" for one in stop["looks"]]
    yield f"| steps | {' | '.join(steps)} |"
    yield f"|{' --- |' * (1 + len(steps))}"
    yield f"| best of {stop['k']} on {stop['questions']} held-out train questions, % | {' | '.join(shares)} |"
    yield ""
    yield (
        f"Kept: the state after {report['steps']} steps; {report['training_examples']} pairs were learned. "
        f"Of {verified['pairs']} held-out pairs it ranks {100 * verified['pair_accuracy']:.1f} % right, the "
        f"reference {100 * verified['pair_accuracy_before']:.1f} %."
    )
    yield ""
    found = metrics[1]["test_time"]
    yield f"| {found['n']} other questions | {' | '.join(f'k = {k}' for k in found['ks'])} |"
    yield f"|{' --- |' * (1 + len(found['ks']))}"
    for name, points in found["curves"].items():
        if (label := curve_label(name)) is not None:
            shares = [f"{100 * one['value']:.1f}" for one in points]
            yield f"| {label} | {' | '.join(shares)} |"
    yield ""
    yield time_taken(command, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".star/stopped"))
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    began = time.monotonic()
    task = write_task(chosen.out / f"data-{chosen.seed}", train=TRAIN, validation=HELD_OUT, seed=chosen.seed)
    folder = chosen.out / f"v-star-{chosen.seed}"
    directory, _ = run_arm(folder, f"seed {chosen.seed}", settings(chosen.seed), HERE / "model", *task)
    command = f"python -m examples.carry.stopped --seed {chosen.seed}"
    print("\n".join(page(directory.metrics(), time.monotonic() - began, command)))


if __name__ == "__main__":
    main()
