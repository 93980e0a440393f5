"""An experiment: its arms, runs in directories of their own which go on where they were, and its page."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from star_engine.config.star import StarConfig
from star_engine.load import load_dataset, load_model, load_prompt_set
from star_engine.run import run_star
from star_engine.run_directory import RunDirectory


def run_arm(
    folder: Path, name: str, config: StarConfig, model: Path, dataset: Path, prompt_set: Path
) -> tuple[RunDirectory, int]:
    """Run it and print its accuracies; return what it recorded, and how many train examples it has."""
    train, held_out = load_dataset(dataset, config.kind)
    sampler, trainer = load_model(model, rank=config.training.lora.rank)
    shown = load_prompt_set(prompt_set, config.kind)
    for event in run_star(config, train, held_out, shown, sampler, trainer, folder):
        if event.name == "phase_finished" and "accuracy" in event.facts:
            print(f"{name}, iteration {event.iteration}: {event.facts['accuracy']:.1%}", flush=True)
    sampler.close()
    return RunDirectory(folder), len(train)


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """Which seeds are run: the first so many, or one alone, so that seeds can be run one after another."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=int, default=3, help="so many: 0, 1, 2 ...")
    which.add_argument("--seed", type=int, action="append", help="this one; may be given several times")


def seeds_of(chosen: argparse.Namespace) -> list[int]:
    """The seeds that were asked for, in order."""
    return sorted(set(chosen.seed)) if chosen.seed else list(range(chosen.seeds))


def seeds_typed(chosen: argparse.Namespace) -> str:
    """The same as an argument of the command."""
    return " ".join(f"--seed {one}" for one in seeds_of(chosen)) if chosen.seed else f"--seeds {chosen.seeds}"


FIGURES = "## What came out"


def write_section(page: Path, text: str) -> None:
    """Put a run's figures under FIGURES of its page; what stands above and in sections below is kept."""
    said = page.read_text(encoding="utf-8") if page.exists() else ""
    before, _, after = said.partition(f"{FIGURES}\n")
    behind = re.search(r"^## ", after, re.MULTILINE)
    rest = f"\n{after[behind.start() :]}" if behind else ""
    head = before if before.endswith("\n\n") or not before else f"{before.rstrip()}\n\n"
    page.write_text(f"{head}{FIGURES}\n\n{text.strip()}\n{rest}", encoding="utf-8")


def percents(values: Sequence[float | None]) -> str:
    """Shares as whole per cent, one behind the other; -: there is none."""
    return " ".join("-" if value is None else f"{100 * value:.0f}" for value in values)
