"""The one Celery task. A ring says that there is work; which work is decided in the ledger."""

from __future__ import annotations

import os
import signal
import socket
from functools import cache

import structlog

from app.database import make_engine
from app.ledger.steps import claim_step
from app.log import configure_logging
from app.storage import Storage
from worker.celery import celery_app, draining, settings
from worker.steps import work_on
from worker.workbench import Workbench

log = structlog.get_logger()


@cache
def workbench() -> Workbench:
    """Made once in the pool's child, after the fork: connections never cross one."""
    configure_logging()
    return Workbench(
        engine=make_engine(settings.resolved_database_url(), pool_size=2),
        storage=Storage(settings.resolved_storage_url()),
        settings=settings,
        worker_id=f"{socket.gethostname()}:{os.getpid()}",
        draining=draining.is_set,
        abandon=lambda: os.kill(os.getpid(), signal.SIGKILL),  # Celery starts another child
    )


@celery_app.task(name="run_step")  # type: ignore[untyped-decorator]
def run_step(step_id: str) -> None:
    """Claim and do steps until there is none left: the GPU process stays warm between them."""
    bench = workbench()
    while not draining.is_set():
        claim = claim_step(bench.engine, bench.worker_id, settings.lease_seconds, bench.warm_model)
        if claim is None:
            return
        work_on(bench, claim)
