"""The paper's addition (STaR, section 4.3) on SmolLM2-135M-Instruct: five arms, shown equally many rows.

    python -m examples.smollm2.convert
    OMP_NUM_THREADS=1 python -m examples.smollm2.addition --write docs/runs/arithmetic-smollm2.md

Every model is trained from the base model and shown equally many rows, however many different ones its arm
has; direct fine-tuning is run a second time on as many as all iterations of STaR together. Baselines come
first; then STaR with and without rationalization take turns, so that a run that is stopped compares equals.
Called again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.addition.generate import write_task
from examples.arm import run_arm, write_section
from examples.smollm2.convert import MODEL_FOLDER
from star_engine.adapters.layout import write_durably
from star_engine.config.presets import PRESETS, laid_over
from star_engine.config.star import StarConfig
from star_engine.run_directory import JsonLines, RunDirectory, rationale_line
from star_engine.sampling.rationales import Route
from star_engine.tasks.kind import Kind

KIND = Kind.SCRATCHPAD
FEW_SHOT, DIRECT, GOLD = "few-shot", "direct fine-tuning", "gold scratchpads"
LONGER = "direct fine-tuning, rows of all iterations"
STAR, WITHOUT = "STaR", "STaR without rationalization"
PRESET: Mapping[str, str] = {
    FEW_SHOT: "few-shot-cot",
    DIRECT: "direct-fine-tune",
    GOLD: "gold-rationale-fine-tune",
    LONGER: "direct-fine-tune",
    STAR: "star",
    WITHOUT: "star-without-rationalization",
}
BATCH = 4
SECONDS = "seconds.jsonl"


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the run is. train and held_out count sums of all digit counts, of which one digit has few."""

    digits: tuple[int, ...]
    shots: int  # few-shot examples of each digit count
    train: int
    held_out: int
    steps: int  # of every training but that of LONGER
    iterations: int

    def presentations(self, arm: str) -> int:
        """How many rows the model of an arm, or of one of its iterations, is shown from the base model on."""
        return self.steps * BATCH * (self.iterations if arm == LONGER else 1)


CPU = Scale((1, 2), shots=8, train=528, held_out=120, steps=120, iterations=2)


def settings(arm: str, scale: Scale, seed: int, iterations: int = 1) -> StarConfig:
    """The settings of an arm, up to so many iterations."""
    config = PRESETS[PRESET[arm]](KIND).model_dump(mode="json") | {"seed": seed}
    changed: dict[str, Any] = {
        "iterations": iterations,
        "examples_per_iteration": None,  # all are asked
        # Trained models are asked without few-shot examples: their rows have none. Hinted prompts show them.
        "generation": {"max_tokens": 18 + 23 * max(scale.digits), "few_shot": "first_iteration"},
        "training": {
            "schedule": {"kind": "fixed", "steps": scale.presentations(arm) // BATCH},
            "batch_size": BATCH,
            "batch_tokens": None,
            "learning_rate": 2e-3,
            "warmup_steps": 10,
            "decay_share": 0.3,
            "checkpoint_every": 20,
            "lora": {"rank": 16, "alpha": 32},
        },
        "evaluation": {"baselines": ["few_shot_direct", "few_shot_cot"] if arm == FEW_SHOT else []},
        "audits": {"determinism": 0, "spark_level": None},
    }
    if arm == STAR:
        changed["rationalization"] = {"p_keep_hint": 0.2}
    return StarConfig.model_validate(laid_over(config, changed))


def turns(scale: Scale) -> Iterator[tuple[str, int]]:
    """The arms in the order in which they are run, each with the iteration up to which it is."""
    for arm in (FEW_SHOT, DIRECT, GOLD):
        yield arm, 1
    for number in range(1, scale.iterations + 1):
        for arm in (STAR, WITHOUT):
            yield arm, number
    yield LONGER, 1


def folder_of(out: Path, arm: str, seed: int) -> Path:
    return out / f"seed-{seed}" / "".join(c if c.isalnum() else "-" for c in arm)


def run(out: Path, model: Path, scale: Scale, seed: int) -> None:
    """Run every arm in turn; what is recorded is not done again."""
    task = write_task(
        out / f"data-{seed}",
        train=scale.train,
        validation=scale.held_out,
        seed=seed,
        solutions=True,
        digit_counts=scale.digits,
        shots=scale.shots,
    )
    for arm, number in turns(scale):
        began = time.monotonic()
        folder = folder_of(out, arm, seed)
        if arm == WITHOUT:
            take_over_tries(RunDirectory(folder_of(out, STAR, seed)), RunDirectory(folder))
        run_arm(folder, f"{arm}, seed {seed}", settings(arm, scale, seed, number), model, *task)
        spent = time.monotonic() - began
        print(f"{arm}, up to iteration {number}: {spent:.0f} s", flush=True)
        with JsonLines(out / SECONDS) as lines:
            lines.append({"arm": arm, "iteration": number, "seed": seed, "seconds": round(spent, 1)})


def take_over_tries(star: RunDirectory, without: RunDirectory) -> None:
    """The base model's greedy tries without a hint are the same in both arms: they are made once."""
    path = without.rationales_path(1)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        tries = [one for one in star.rationales(1) if one.key.route is Route.GENERATED]
        lines = (json.dumps(rationale_line(one), ensure_ascii=False) for one in tries)
        write_durably(path, "".join(f"{line}\n" for line in lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".star/smollm2-addition"))
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--write", type=Path, help="the page whose figures are replaced; the plot beside it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report-only", action="store_true", help="run nothing, show what there is")
    chosen = parser.parse_args()
    if not chosen.report_only:
        run(chosen.out, chosen.model, CPU, chosen.seed)
    report(chosen.out, chosen.seed, chosen.write)


def report(out: Path, seed: int, page: Path | None) -> None:
    """Print the tables; write them to `page`, and the plot beside it."""
    from examples.smollm2.addition_page import draw, read, tables

    directories = {arm: RunDirectory(folder_of(out, arm, seed)) for arm in PRESET}
    found = read(directories)
    text = "\n".join(tables(found, directories, out / SECONDS))
    print(text)
    if page is not None:
        write_section(page, f"![Held-out accuracy by iteration]({page.stem}.svg)\n\n{text}")
        draw(found, page.with_suffix(".svg"))


if __name__ == "__main__":
    main()
