"""The curve of an iteration's training, as an object and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, fields
from typing import Literal

from sqlalchemy import Engine

from app.database import reading
from app.http.schemas import Resource
from app.ledger.jobs.jobs import get_job
from app.ledger.results.curves import CurveStep, read_curve
from app.ledger.results.iterations import get_iteration


class CurveOut(Resource):
    """Every optimizer step up to the newest checkpoint, or to the end of the training."""

    object: Literal["training_curve"] = "training_curve"
    job: str
    iteration: int
    steps: list[CurveStep]


def read_training_curve(db: Engine, project_id: str, job_id: str, number: int) -> CurveOut:
    with reading(db) as session:
        job = get_job(session, project_id, job_id)
        iteration, _ = get_iteration(session, job.id, number)
        return CurveOut(
            id=f"curve_{iteration.id}",
            created_at=iteration.created_at,
            job=job.id,
            iteration=number,
            steps=read_curve(session, iteration.id),
        )


def as_csv(found: CurveOut) -> str:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([field.name for field in fields(CurveStep)])
    lines.writerows(map(astuple, found.steps))
    return text.getvalue()
