"""One arm of an experiment: a run in a directory of its own, which goes on where it was."""

from __future__ import annotations

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
