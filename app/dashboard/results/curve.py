"""The curves of one iteration's training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Request, Response

from app.dashboard.rendering import page
from app.dashboard.results.files import Number
from app.dashboard.session import Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.jobs.read import read_job
from app.ledger.results.curves import CurveStep
from app.results.curves import read_training_curve

router = page_router("/jobs/{job_id}/iterations/{number}/curve")
MAX_POINTS = 300  # of a chart; CSV has all
CHARTS: dict[str, Callable[[CurveStep], float]] = {
    "Training loss": lambda one: one.loss,
    "Gradient norm, before clipping": lambda one: one.grad_norm,
    "Learning rate": lambda one: one.learning_rate,
    "Tokens per step": lambda one: one.step_tokens,
}


@router.get("")
def curve(request: Request, caller: Viewer, db: Db, job_id: str, number: Number) -> Response:
    job = read_job(db, caller.project_id, job_id)
    found = read_training_curve(db, caller.project_id, job_id, number)
    drawn = [(title, _spec(found.steps, title, read)) for title, read in CHARTS.items() if found.steps]
    return page(request, "curve.html", caller, job=job, number=number, charts=drawn, steps=len(found.steps))


def _spec(steps: Sequence[CurveStep], title: str, read: Callable[[CurveStep], float]) -> dict[str, Any]:
    """Return the chart's data: at most MAX_POINTS evenly spread steps, including the last."""
    every = -(-len(steps) // MAX_POINTS)
    shown = [*steps[:-1:every], steps[-1]]
    series = {
        "label": title, "values": [read(one) for one in shown], "low": None, "high": None, "dashed": False
    }  # fmt: skip
    return {
        "x": [one.step for one in shown], "x_label": "Optimizer step", "unit": "number", "series": [series]
    }  # fmt: skip
