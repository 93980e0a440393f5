"""What a job made, to save from its pages: the files that /v1 sends."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Response

from app.dashboard.session import Viewer
from app.http.dependencies import Config, Db
from app.http.downloads import ExportFormat
from app.http.router import page_router
from app.ledger.platform.prices import prices_of
from app.reports.negotiation import ReportFormat
from app.results.exports.files import curve_file, never_solved_file, report_file, training_set_file
from app.results.training_sets import TrainingSetFormat

router = page_router("/jobs/{job_id}/files")
Number = Annotated[int, Path(ge=0, le=10_000)]


@router.get("/report")
def report(
    caller: Viewer,
    db: Db,
    settings: Config,
    job_id: str,
    format_: Annotated[ReportFormat, Query(alias="format")] = ReportFormat.HTML,
) -> Response:
    prices = prices_of(settings) if settings.gpu_prices else None
    return report_file(db, caller.project_id, job_id, format_, prices)


@router.get("/training-set/{number}")
def training_set(
    caller: Viewer,
    db: Db,
    job_id: str,
    number: Number,
    format_: Annotated[TrainingSetFormat, Query(alias="format")] = TrainingSetFormat.JSONL,
) -> Response:
    return training_set_file(db, caller.project_id, job_id, number, format_)


@router.get("/curve/{number}")
def curve(caller: Viewer, db: Db, job_id: str, number: Number) -> Response:
    return curve_file(db, caller.project_id, job_id, number)


@router.get("/never-solved")
def never_solved(caller: Viewer, db: Db, job_id: str) -> Response:
    return never_solved_file(db, caller.project_id, job_id, ExportFormat.JSONL)
