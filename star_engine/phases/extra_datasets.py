"""Accuracy on other datasets, measured along in every iteration: what is forgotten, what carries over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.evaluation.accuracy import EvaluationMode, evaluate, select_held_out, summarise
from star_engine.protocols import Sampler
from star_engine.run_directory import JsonLines, RunDirectory
from star_engine.tasks.examples import Example, PromptSet


def check_along(config: StarConfig, also: Mapping[str, Sequence[Example]]) -> None:
    """ValueError for a dataset that `evaluation.also` names and that was not given."""
    missing = [name for name in config.evaluation.also if not also.get(name)]
    if missing:
        raise ValueError(f"evaluation.also names {missing[0]!r}: give run_star its examples under this name.")


def measure_along(
    sampler: Sampler,
    config: StarConfig,
    prompt_set: PromptSet,
    also: Mapping[str, Sequence[Example]],
    mode: EvaluationMode,
    iteration: int,
    record: RunDirectory,
) -> dict[str, Any]:
    """Ask the model that the sampler holds what has not been asked yet; facts for the phase's record."""
    found = {}
    for name in config.evaluation.also:
        examples = [also[name][at] for at in select_held_out(config, len(also[name]))]
        done = frozenset(answer.example_id for answer in record.answers(iteration, mode, name))
        answers = evaluate(sampler, config, prompt_set, examples, mode, iteration, done)
        with JsonLines(record.answers_path(iteration, mode, name)) as lines:
            for answer in answers:
                lines.append(asdict(answer))
        accuracy = summarise(record.answers(iteration, mode, name))
        found[name] = {"accuracy": round(accuracy.accuracy, 6), "n": accuracy.overall.n}
    return {"also": found} if found else {}
