"""Prometheus metrics of the whole deployment, for an operator's key."""

from __future__ import annotations

from fastapi.responses import PlainTextResponse

from app.database import reading
from app.http.auth import Operator
from app.http.dependencies import Db
from app.http.router import api_router
from app.ledger.platform.prometheus import read_metrics, render

router = api_router("operation")


@router.get("/metrics", summary="Prometheus metrics, read from the ledger", response_class=PlainTextResponse)
def metrics(caller: Operator, db: Db) -> PlainTextResponse:
    """Counts over all projects, without the name of any."""
    with reading(db) as session:
        return PlainTextResponse(render(read_metrics(session)), media_type="text/plain; version=0.0.4")
