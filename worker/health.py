"""Checks whether a worker or scheduler could work here: `python -m worker.health` exits 0 or says why not.

Whether a worker makes progress is for its lease to tell; that its process runs, the container itself shows.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import redis
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.broker import redis_url
from app.database import make_engine, reading
from app.ledger.data.base_models import BadModelsFile, read_listed, why_unreadable
from app.settings import Settings

BROKER_TIMEOUT_S = 5
CUDA = 13_000  # of the wheels of torch and vllm, as the driver counts: 1000 x major + 10 x minor
DRIVER = 580  # the first that speaks it


def problems(settings: Settings) -> list[str]:
    """Return a sentence for each thing that is missing, never with a URL, which may hold a password."""
    found = [*unreadable_models(settings)]
    if settings.device == "cuda" and (problem := driver_problem()) is not None:
        found.append(problem)
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


def driver_problem(load: Callable[[str], Any] = ctypes.CDLL) -> str | None:
    """What is wrong with the NVIDIA driver that is seen from here, and what to do; None where it will do."""
    try:
        library = load("libcuda.so.1")
    except OSError:
        return (
            f"There is no NVIDIA driver here (libcuda.so.1). Install driver {DRIVER} or newer on the host; "
            "for a container also the NVIDIA container toolkit (`nvidia-ctk runtime configure`), and its GPU."
        )
    version = ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    if version.value >= CUDA:
        return None
    major, minor = version.value // 1000, version.value % 1000 // 10
    return f"The NVIDIA driver speaks CUDA {major}.{minor}, 13.0 is needed: install driver {DRIVER} or newer."


def unreadable_models(settings: Settings) -> list[str]:
    """One sentence for each base model of which this process may not read all files."""
    path = settings.models_file
    if "models_file" not in settings.model_fields_set and not path.exists():
        return []
    try:
        folders = {model.id: (path.parent / model.location).resolve() for model in read_listed(path)}
    except BadModelsFile as bad:
        return [f"STAR_MODELS_FILE: {bad}"]
    reasons = {name: why_unreadable(folder) for name, folder in folders.items()}
    return [f"model {name}: {reason}" for name, reason in reasons.items() if reason is not None]


if __name__ == "__main__":
    sys.exit("\n".join(problems(Settings())) or 0)
