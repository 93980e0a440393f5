"""The curve of an iteration's training."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.results.curves import CurveOut, read_training_curve
from app.results.exports.files import curve_file
from app.routes.results.iterations import Number

router = api_router("curves", "/v1/jobs/{job_id}/iterations")

CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


class CurveFormat(StrEnum):
    JSON = "json"
    CSV = "csv"


@router.get("/{number}/curve", summary="Get the curve of a training", responses=CSV, response_model=CurveOut)
def get(
    caller: Reader,
    db: Db,
    job_id: str,
    number: Number,
    format_: Annotated[CurveFormat, Query(alias="format")] = CurveFormat.JSON,
) -> Response:
    """Loss, gradient norm before clipping, learning rate and tokens of every optimizer step.

    It is extended at checkpoints, every `training.checkpoint_every` steps.
    """
    if format_ is CurveFormat.CSV:
        return curve_file(db, caller.project_id, job_id, number)
    found = read_training_curve(db, caller.project_id, job_id, number)
    return Response(found.model_dump_json(), media_type="application/json")
