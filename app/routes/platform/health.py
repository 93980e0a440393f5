"""Whether this process lives, and whether it can serve."""

from __future__ import annotations

from typing import Literal

from fastapi import Request
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.broker import Broker, Standing
from app.database import reading
from app.errors import Unavailable
from app.http.dependencies import Db
from app.http.router import api_router

router = api_router("health")


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(Health):
    broker: Standing  # "away": jobs are taken and wait until it is back; "unknown": none is named


@router.get("/healthz", summary="Liveness")
async def healthz() -> Health:
    """Answered without a thread: it says that this process lives, also where all of them are busy."""
    return Health()


@router.get("/readyz", summary="Readiness: the process reaches its database")
def readyz(db: Db, request: Request) -> Readiness:
    """Report readiness. A missing broker does not matter: jobs submitted meanwhile start once it is back."""
    try:
        with reading(db) as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError as failure:
        raise Unavailable("The database does not answer.") from failure
    broker: Broker = request.app.state.broker
    return Readiness(broker=broker.standing())
