"""Probes: how hard a sample of a job's train questions is."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.results.quality.probes import ProbeOut, wait_for_probe

router = api_router("jobs", "/v1/probes")


@router.get("/{probe_id}", summary="Get a probe")
async def get(
    caller: Reader,
    db: Db,
    probe_id: str,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for its end.")] = 0,
) -> ProbeOut:
    """Shares that are never, sometimes and always right, pass@8, expected rows, steps and cost, and what
    would help. Begun by a dry run with `probe`; cancelled, as a job, by POST /v1/jobs/{id}/cancel.
    """
    return await wait_for_probe(db, caller.project_id, probe_id, wait)
