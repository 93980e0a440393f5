"""STaR beside what it has to beat, on the addition models: five arms, sampling, three seeds, two bases.

    python -m examples.addition.compare --out .star/compare --write docs/runs/addition.md

Every arm has the same questions and steps; base 2 is pretrained first. A finished arm is not run again. The
figure goes beside the page.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from examples.addition.arms import (
    BUDGET,
    DIRECT,
    GOLD,
    HELD_OUT,
    PRESET,
    SAMPLED,
    STAR,
    TRAIN,
    WITHOUT,
    settings,
)
from examples.addition.generate import Addition, work_out, write_task
from examples.arm import folder_name, measured_iterations, run_arm
from star_engine.run_directory import RunDirectory
from star_engine.sampling.rationales import Route

HERE = Path(__file__).parent
ARMS = (STAR, WITHOUT, DIRECT, GOLD, SAMPLED)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What an iteration learned from."""

    rows: int
    pairs: int  # of the 100 ordered pairs of digits that can stand above each other
    true: int  # rows whose working is right to the letter; 0 where rows have none
    hinted: int  # questions that were asked with the hint
    hinted_right: int


@dataclass(frozen=True, slots=True)
class Found:
    """One arm on one base at one seed."""

    base: int
    arm: str
    seed: int
    few_shot: Mapping[str, float]  # of the base model, by mode; empty where this arm did not measure it
    accuracy: tuple[float, ...]  # held out, by iteration from 1
    by_digits: tuple[Mapping[str, float], ...]
    sets: tuple[TrainingSet, ...]


def run(out: Path, model: Path, base: int, arm: str, seed: int) -> Found:
    """Run an arm, or go on with it, or read what it found."""
    folder = out / f"base-{base}" / f"seed-{seed}" / folder_name(arm)
    recorded = folder.with_suffix(".json")
    if recorded.exists():
        return found_in(json.loads(recorded.read_text(encoding="utf-8")))
    task = write_task(out / f"data-{seed}", train=TRAIN, validation=HELD_OUT, seed=seed, solutions=True)
    name = f"base {base}, seed {seed}, {arm}"
    directory, _ = run_arm(folder, name, settings(arm, BUDGET, seed), model, *task)
    found = read(directory, base, arm, seed)
    recorded.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    return found


def found_in(recorded: Mapping[str, Any]) -> Found:
    """Return what `run` has recorded of an arm."""
    tuples = {name: tuple(recorded[name]) for name in ("accuracy", "by_digits")}
    sets = tuple(TrainingSet(**one) for one in recorded["sets"])
    return Found(**{**recorded, **tuples, "sets": sets})


def read(directory: RunDirectory, base: int, arm: str, seed: int) -> Found:
    metrics = directory.metrics()
    measured = measured_iterations(metrics)
    few_shot = {mode: one["accuracy"] for mode, one in metrics.get(0, {}).get("baselines", {}).items()}
    return Found(
        base,
        arm,
        seed,
        few_shot,
        tuple(one["accuracy"] for one in measured.values()),
        tuple(one["accuracy_by_group"] for one in measured.values()),
        tuple(training_set(directory, number) for number in measured),
    )


def training_set(directory: RunDirectory, number: int) -> TrainingSet:
    """What iteration `number` of a run has learned from."""
    rows, pairs, true = directory.training_set(number), set[tuple[str, str]](), 0
    for row in rows:
        left, right = row.key.example_id.split("+")
        pairs |= set(zip(left, right, strict=True))
        true += row.completion.strip() == "\n".join(work_out(Addition(int(left), int(right))))
    tries = Counter(
        one.verdict == "correct"
        for one in directory.rationales(number)
        if one.key.route is Route.RATIONALIZED
    )
    return TrainingSet(len(rows), len(pairs), true, tries.total(), tries[True])


def models(out: Path, bases: int) -> list[Path]:
    """The shipped base model, and the others, which are pretrained where they are not there yet."""
    from examples.addition.pretrain import pretrain

    found = [HERE / "model"]
    for number in range(2, bases + 1):
        found.append(out / f"model-{number}")
        if not (found[-1] / "tokenizer.json").exists():
            pretrain(found[-1], number)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".star/compare"))
    parser.add_argument("--write", type=Path, help="where the page goes; its figure beside it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bases", type=int, default=2, choices=(1, 2))
    parser.add_argument("--arms", nargs="*", default=ARMS, choices=sorted(PRESET))
    chosen = parser.parse_args()
    found = [
        run(chosen.out, model, base, arm, seed)
        for seed in range(chosen.seeds)
        for base, model in enumerate(models(chosen.out, chosen.bases), 1)
        for arm in chosen.arms
    ]
    report(found, chosen.write)


def report(found: Sequence[Found], page: Path | None) -> None:
    """Print the tables; write them to `page`, and the figure beside it."""
    from examples.addition.plot import draw, tables
    from examples.arm import write_section

    text = "\n".join(tables(found))
    print(text)
    if page is not None:
        write_section(page, f"![Accuracy and coverage by iteration]({page.stem}.svg)\n\n{text}")
        draw(found, page.with_suffix(".svg"))


if __name__ == "__main__":
    main()
