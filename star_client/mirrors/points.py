"""What of a job is copied: figures of each finished iteration and of each optimizer step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from star_client.client import StarClient
from star_client.objects import Iteration, Job

Axis = Literal["iteration", "optimizer_step"]


@dataclass(frozen=True, slots=True)
class Point:
    """Figures at one place of an axis. Rates and shares lie between 0 and 1."""

    axis: Axis
    at: int
    values: Mapping[str, float]


def points_of(star: StarClient, job: Job, iteration: Iteration, steps_before: int) -> Iterator[Point]:
    """Figures of a finished iteration. `steps_before`: optimizer steps of the iterations before it."""
    if iteration.number > 0 and "train" in iteration.phases_done:
        for step in star.jobs.curve(job.id, iteration.number).steps:
            values = {
                "train/loss": step.loss,
                "train/grad_norm": step.grad_norm,
                "train/learning_rate": step.learning_rate,
            }
            yield Point("optimizer_step", steps_before + step.step, values)
    yield Point("iteration", iteration.number, dict(_figures(iteration)))


def _figures(iteration: Iteration) -> Iterator[tuple[str, float]]:
    metrics = iteration.metrics
    for name, value in (("accuracy", metrics.accuracy), ("solve_rate", metrics.solve_rate)):
        if value is not None:
            yield name, value
    sections: Mapping[str, Mapping[str, Any]] = {
        "accuracy": metrics.accuracy_by_group,
        "baseline": {name: found.get("accuracy") for name, found in metrics.baselines.items()},
        "coverage": metrics.coverage,
        "kept": metrics.kept,
        "seconds": metrics.seconds,
    }
    for section, found in sections.items():
        for name, value in found.items():
            if isinstance(value, int | float):
                yield f"{section}/{name}", value


def settings_of(job: Job) -> dict[str, str | int | float | bool]:
    """The job's settings by their dotted names, with what it is made of."""
    made = {"model": job.model, "dataset": job.dataset, "prompt_set": job.prompt_set}
    return {**made, **dict(_flat(job.config))}


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value if isinstance(value, str | int | float) else str(value)
