"""The report of a finished run: commands, versions, times, and what each iteration reached, as Markdown."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from star_client.client import StarClient
from star_client.objects import Iteration, Job
from star_engine.adapters.probe import installed_versions


def write_report(star: StarClient, job: Job, path: Path, *, title: str, command: str, notes: str) -> None:
    """Write the report of this job to `path`. `command` is what a reader types to run it again."""
    iterations = star.jobs.iterations(job.id)
    sections = [
        f"# {title}",
        notes,
        f"```sh\n{command}\n```",
        _facts(job),
        "## Held-out accuracy\n\n" + _table(_accuracy(iterations)),
        "## Training sets\n\n" + _table(_training_sets(iterations[1:])),
        "## Seconds of worker time\n\n" + _table(_seconds(iterations)),
        "## Tries\n\n" + _table(_tries(iterations[1:])),
        "## Settings\n\n```json\n" + json.dumps(job.config, indent=1) + "\n```",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _facts(job: Job) -> str:
    elapsed = (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else 0
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    return (
        f"- Job {job.status} ({job.stop_reason}), {elapsed:.0f} s from its first step to its end, "
        f"finished {job.finished_at:%Y-%m-%d %H:%M} UTC\n"
        f"- Base model `{job.model}`, always trained from the base model\n"
        f"- Machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n"
        f"- Versions: {versions}"
    )


def _accuracy(iterations: Sequence[Iteration]) -> Iterator[Mapping[str, str]]:
    for mode, found in iterations[0].metrics.baselines.items():
        yield _accuracy_row(f"base model, {mode.replace('_', ' ')}", found["accuracy"], found)
    for iteration in iterations[1:]:
        metrics = iteration.metrics
        yield _accuracy_row(f"iteration {iteration.number}", metrics.accuracy or 0.0, metrics.evaluated)


def _accuracy_row(name: str, accuracy: float, counts: Mapping[str, float]) -> Mapping[str, str]:
    row = {"model": name, "accuracy": f"{accuracy:.1%}"}
    return row | {key: str(counts.get(key, "")) for key in ("n", "unparsed", "truncated")}


def _training_sets(iterations: Sequence[Iteration]) -> Iterator[Mapping[str, str]]:
    for iteration in iterations:
        metrics, training = iteration.metrics, iteration.metrics.training
        yield {
            "iteration": str(iteration.number),
            "solve rate": f"{metrics.solve_rate or 0:.1%}",
            **{f"{route} kept": str(count) for route, count in metrics.kept.items()},
            "coverage": f"{metrics.coverage.get('total', 0):.1%}",
            "steps": str(training.get("steps")),
            "first loss": str(training.get("loss_first")),
            "last loss": str(training.get("loss_last")),
            "sha256": f"`{(iteration.training_set_sha256 or '')[:16]}`",
        }


def _seconds(iterations: Sequence[Iteration]) -> Iterator[Mapping[str, str]]:
    phases = ("baselines", "sample", "build", "train", "verify_adapter", "evaluate")
    for iteration in iterations:
        seconds = iteration.metrics.seconds
        yield {"iteration": str(iteration.number)} | {
            phase: f"{seconds[phase]:.1f}" if phase in seconds else "" for phase in phases
        }


def _tries(iterations: Sequence[Iteration]) -> Iterator[Mapping[str, str]]:
    for iteration in iterations:
        for route, verdicts in sorted(iteration.metrics.sampled.items()):
            counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
            yield {"iteration": str(iteration.number), "route": route, "verdicts": counts}


def _table(rows: Iterator[Mapping[str, str]]) -> str:
    lines: list[str] = []
    for row in rows:
        if not lines:
            lines += [" | ".join(row), " | ".join("---" for _ in row)]
        lines.append(" | ".join(row.values()))
    return "\n".join(f"| {line} |" for line in lines)
