"""Experiment trackers, each by its own package, which is imported when it is named.

A run of a tracker is a job and is found again by the job's id, so that a mirror may be started again.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from star_client.errors import StarError
from star_client.mirrors.points import Point, settings_of
from star_client.objects import Job


class Tracker(Protocol):
    name: str  # as it was named: mlflow:http://...

    def send(self, job: Job, points: Sequence[Point]) -> None:
        """Add points to the job's run, and end it where the job has ended. Raises what the package does."""


class TensorBoard:
    """`tensorboard:FOLDER`: event files in a folder for each job."""

    def __init__(self, place: str) -> None:
        self.name = f"tensorboard:{place}"
        self._folder = Path(place or "runs")
        self._summary = _package("tensorboard.summary")

    def send(self, job: Job, points: Sequence[Point]) -> None:
        writer = self._summary.Writer(str(self._folder / run_name(job)))
        for point in points:
            for name, value in point.values.items():
                writer.add_scalar(name, value, point.at)
        writer.close()


class MLflow:
    """`mlflow:URI`: a run of the experiment `star` for each job, with its settings as parameters."""

    EXPERIMENT = "star"
    STATUSES = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}  # noqa: RUF012 - a table

    def __init__(self, place: str) -> None:
        self.name = f"mlflow:{place}"
        self._mlflow = _package("mlflow")
        self._client = self._mlflow.MlflowClient(tracking_uri=place or None)

    def send(self, job: Job, points: Sequence[Point]) -> None:
        run_id = self._run(job)
        metric = self._mlflow.entities.Metric
        moment = int((job.finished_at or job.created_at).timestamp() * 1000)
        metrics = [
            metric(name, value, moment, point.at) for point in points for name, value in point.values.items()
        ]
        for start in range(0, len(metrics), 1000):  # what the server takes at once
            self._client.log_batch(run_id, metrics=metrics[start : start + 1000])
        if job.is_terminal:
            self._client.set_terminated(run_id, self.STATUSES.get(job.status, "FINISHED"))

    def _run(self, job: Job) -> str:
        found = self._client.get_experiment_by_name(self.EXPERIMENT)
        experiment = found.experiment_id if found else self._client.create_experiment(self.EXPERIMENT)
        for run in self._client.search_runs([experiment], f"tags.star_job = '{job.id}'"):
            return str(run.info.run_id)
        tags = {"star_job": job.id, **({"baseline_of": job.baseline_of} if job.baseline_of else {})}
        run = self._client.create_run(experiment, tags=tags, run_name=run_name(job))
        for name, value in settings_of(job).items():
            self._client.log_param(run.info.run_id, name, str(value)[:6000])
        return str(run.info.run_id)


class WandB:
    """`wandb:PROJECT` or `wandb:ENTITY/PROJECT`, with the key that `wandb login` stored."""

    def __init__(self, place: str) -> None:
        self.name = f"wandb:{place}"
        entity, _, project = place.rpartition("/")
        self._where = {"project": project or "star", "entity": entity or None}
        self._wandb = _package("wandb")

    def send(self, job: Job, points: Sequence[Point]) -> None:
        about = {"name": run_name(job), "config": settings_of(job), "group": job.baseline_of or job.id}
        run = self._wandb.init(**self._where, **about, id=job.id, resume="allow", reinit="create_new")
        run.define_metric("iteration")
        run.define_metric("optimizer_step")
        run.define_metric("*", step_metric="iteration")
        run.define_metric("train/*", step_metric="optimizer_step")
        for point in points:
            run.log({point.axis: point.at, **point.values})
        run.finish(exit_code=1 if job.status == "failed" else 0)


class Trackio:
    """`trackio:PROJECT`: a project on this machine, shown by `trackio show`."""

    def __init__(self, place: str) -> None:
        self.name = f"trackio:{place}"
        self._project = place or "star"
        self._trackio = _package("trackio")

    def send(self, job: Job, points: Sequence[Point]) -> None:
        about = {"name": run_name(job), "config": settings_of(job), "resume": "allow", "embed": False}
        run = self._trackio.init(project=self._project, **about)
        for point in points:
            run.log({point.axis: point.at, **point.values})
        run.finish()


TRACKERS: dict[str, type[TensorBoard] | type[MLflow] | type[WandB] | type[Trackio]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
    "trackio": Trackio,
}


def tracker_named(text: str) -> Tracker:
    """The tracker of `--to`. Raises StarError for one that is not known or whose package is missing."""
    kind, _, place = text.partition(":")
    if kind not in TRACKERS:
        known = ", ".join(f"{name}:..." for name in TRACKERS)
        raise StarError(f"{text} names no tracker; use one of {known}.")
    return TRACKERS[kind](place)


def run_name(job: Job) -> str:
    """The job's name with its id, which keeps it apart from others of that name."""
    return f"{job.name or job.model} {job.id}".replace("/", "-")


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as missing:
        package = {"mlflow": "mlflow-skinny"}.get(name.partition(".")[0], name.partition(".")[0])
        raise StarError(f"The package {package} is missing: pip install {package}") from missing
