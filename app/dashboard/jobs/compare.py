"""Compare two or more jobs side by side: differing settings, curves and results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response

from app.dashboard.rendering import page
from app.dashboard.session import Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.jobs.read import read_job, read_jobs
from app.jobs.views import JobOut
from app.ledger.jobs.lists import JobFilter
from app.ledger.jobs.relations import Relative
from app.results.iterations import IterationOut, read_iterations
from app.results.report import read_job_report

router = page_router("/compare")

MAX_JOBS = 6  # jobs: as many as a chart has colours for
CHOICES = 50  # newest jobs to choose from
Chosen = Annotated[list[str] | None, Query(max_length=20, description="Ids; the first is the measure.")]


@router.get("")
def compare(request: Request, caller: Viewer, db: Db, job: Chosen = None) -> Response:
    names = list(dict.fromkeys(job or ()))
    if not 2 <= len(names) <= MAX_JOBS:
        found = read_jobs(db, caller.project_id, JobFilter(), limit=CHOICES).data
        return page(request, "compare_choice.html", caller, found=found, chosen=names, most=MAX_JOBS)
    shown = [read_job(db, caller.project_id, name) for name in names]
    _, own = read_job_report(db, caller.project_id, names[0], names[1:])
    beside = {one.job: one for one in own.relatives}
    turns = {name: read_iterations(db, caller.project_id, name).data for name in names}
    return page(
        request,
        "compare.html",
        caller,
        jobs=shown,
        labels=_labels(shown),
        settings=settings(shown, beside),
        charts=curves(shown, turns),
        beside=beside,
        own=max((row for row in own.accuracies if row.mode == "adapter"), key=_rank, default=None),
        kept={name: _coverage(turns[name], one.best) for name, one in zip(names, shown, strict=True)},
    )


def _rank(row: Any) -> tuple[float, int]:
    return row.accuracy, -row.iteration


def _coverage(turns: Sequence[IterationOut], best: dict[str, Any] | None) -> dict[str, float] | None:
    """Return the coverage of the best iteration, by route."""
    return next(
        (turn.metrics.get("coverage") for turn in turns if best and turn.number == best["iteration"]), None
    )


def _labels(shown: Sequence[JobOut]) -> dict[str, str]:
    """What the jobs are called here: their names, with the end of the id where two have the same."""
    names = [job.name for job in shown]
    return {job.id: job.name if names.count(job.name) == 1 else f"{job.name} …{job.id[-4:]}" for job in shown}


def settings(shown: Sequence[JobOut], beside: dict[str, Relative]) -> list[tuple[str, list[str]]]:
    """Name and each job's value, of those that are not the same in all."""
    others = shown[1:]
    found = {name: [str(getattr(job, name)) for job in shown] for name in ("model", "dataset", "prompt_set")}
    differing = {name: values for name, values in found.items() if len(set(values)) > 1}
    by_job = {job.id: {one.name: one for one in beside[job.id].settings} for job in others}
    for name in dict.fromkeys(name for found_in in by_job.values() for name in found_in):
        known = next(found_in[name] for found_in in by_job.values() if name in found_in)
        values = [by_job[job.id][name].other if name in by_job[job.id] else known.this for job in others]
        differing[name] = [_written(value) for value in (known.this, *values)]
    return list(differing.items())


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def curves(shown: Sequence[JobOut], turns: dict[str, list[IterationOut]]) -> list[tuple[str, dict[str, Any]]]:
    labels = _labels(shown)
    made = []
    for title, metric in (("Held-out accuracy", "accuracy"), ("Solve rate", "solve_rate")):
        known = {
            name: {turn.number: turn.metrics[metric] for turn in found if metric in turn.metrics}
            for name, found in turns.items()
        }
        x = sorted({number for values in known.values() for number in values})
        series = [
            {"label": labels[name], "values": [values.get(n) for n in x], "low": None, "high": None}
            for name, values in known.items()
        ]
        if x:
            made.append((title, {"x": x, "x_label": "Iteration", "unit": "share", "series": series}))
    return made
