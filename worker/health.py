"""Checks whether a worker or scheduler could work here: `python -m worker.health` exits 0 or says why not.

Whether a worker makes progress is for its lease to tell; that its process runs, the container itself shows.
"""

from __future__ import annotations

import sys

import redis
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.broker import redis_url
from app.database import make_engine, reading
from app.settings import Settings

BROKER_TIMEOUT_S = 5


def problems(settings: Settings) -> list[str]:
    """Return one sentence per service that does not answer, never with its URL, which may hold a password."""
    found = []
    try:
        with reading(make_engine(settings.resolved_database_url(), pool_size=1)) as session:
            session.execute(text("SELECT version_num FROM alembic_version")).one()
    except SQLAlchemyError as error:
        found.append(f"The database of STAR_DATABASE_URL is not usable ({type(error).__name__}).")
    try:
        url = redis_url(settings.broker_url)
        redis.Redis.from_url(url, socket_timeout=BROKER_TIMEOUT_S, retry=None).ping()
    except redis.RedisError as error:
        found.append(f"The broker of STAR_BROKER_URL does not answer ({type(error).__name__}).")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems(Settings())) or 0)
