"""An experiment: its arms, runs in directories of their own which go on where they were, and its page."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

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


def folder_name(arm: str) -> str:
    """Return the arm's name with a hyphen for every sign that is no letter and no digit."""
    return "".join(sign if sign.isalnum() else "-" for sign in arm)


def measured_iterations(metrics: Mapping[int, Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Return the metrics of the iterations, from 1, whose held-out accuracy is known, in order."""
    return {number: one for number, one in sorted(metrics.items()) if number and "accuracy" in one}


def experiment_parser(about: str | None, out: Path) -> argparse.ArgumentParser:
    """Return the parser of an experiment's command: its folder, its page and its seeds."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--write", type=Path, help="the page whose figures are replaced")
    add_seeds(parser)
    return parser


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


def time_taken(command: str, seconds: float) -> str:
    """Return the sentence that closes a page."""
    return f"`{command}` took {seconds:,.0f} s on one of two shared CPU cores."


def publish(lines: Iterable[str], page: Path | None) -> None:
    """Print a run's figures; replace those of its page, if there is one."""
    text = "\n".join(lines)
    print(text)
    if page is not None:
        write_section(page, text)


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
