"""The one Celery task. A notification says that there is work; the ledger decides which."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from threading import Thread
from typing import Any

import structlog
from celery.signals import worker_process_init, worker_process_shutdown
from kombu.exceptions import OperationalError
from sqlalchemy.exc import SQLAlchemyError

from app.database import make_engine, transaction
from app.file_hashes import FileHashes
from app.ledger.queue.capacity import forget_worker, note_measured, note_sandbox, saw_worker
from app.log import configure_logging
from app.storage import Storage
from app.tracing.start import start_tracing
from star_engine.tasks.programs.execution import use_runner
from worker.base_models import BaseModels
from worker.celery import celery_app, is_draining, listen_also_to, publish, settings
from worker.context import WorkerContext
from worker.gpu.measured import Measured
from worker.gpu.seen import own_capacity
from worker.hub.tasks import do_next
from worker.sandbox.runner import probed_runner
from worker.shared_calls import work_on
from worker.tracing.claims import claim_next

log = structlog.get_logger()

PRESENCE_SECONDS = 60.0  # between two notes that this worker is there, at work or idle
LOOK_SECONDS = 1.0


@cache
def worker_context() -> WorkerContext:
    """Made once in the pool's child, after the fork: connections never cross one."""
    configure_logging()
    _tracing()
    return WorkerContext(
        engine=make_engine(settings.resolved_database_url(), pool_size=2),
        storage=Storage(settings.resolved_storage_url()),
        settings=settings,
        worker_id=f"{socket.gethostname()}:{os.getpid()}",
        draining=is_draining,
        base_models=BaseModels(FileHashes(settings.home.absolute() / "worker" / "model-hashes.json")),
        abandon=lambda: os.kill(os.getpid(), signal.SIGKILL),  # Celery starts another child
    )


@cache
def _tracing() -> Callable[[], None]:
    return start_tracing(settings, "worker")


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def end_tracing(**_: Any) -> None:
    """Send the spans that are left."""
    _tracing()()


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _say_hello(**_: Any) -> None:
    worker = worker_context()
    Thread(target=be_present, args=[worker], name="presence", daemon=True).start()
    worker.prepare_gpu()


def be_present(worker: WorkerContext) -> None:
    """Report this worker's presence and capacity to the ledger until it shuts down."""
    measured = Measured()
    _note(worker, measured)
    _probe_sandbox(worker)
    noted = float("-inf")
    while not is_draining():
        if time.monotonic() - noted > PRESENCE_SECONDS:
            _note(worker, measured)
            noted = time.monotonic()
        time.sleep(LOOK_SECONDS)
    with suppress(SQLAlchemyError), transaction(worker.engine) as session:
        forget_worker(session, worker.worker_id)


def _probe_sandbox(worker: WorkerContext) -> None:
    """Install the sandbox where it confines what must be confined; note why not where it does not."""
    runner, problem = probed_runner(worker.settings)
    use_runner(runner)
    log.info("sandbox_probed", problem=problem)
    try:
        with transaction(worker.engine) as session:
            note_sandbox(session, worker.worker_id, problem)
    except SQLAlchemyError as error:
        log.warning("sandbox_not_noted", error=type(error).__name__)


def _note(worker: WorkerContext, measured: Measured) -> None:
    """Tell the ledger; GPUs that were not seen when the worker began may be there by now."""
    capacity = own_capacity(settings, again=True)
    listen_also_to(capacity.queue)
    try:
        with transaction(worker.engine) as session:
            saw_worker(session, worker.worker_id, capacity)
            note_measured(session, worker.worker_id, measured(worker))
    except SQLAlchemyError as error:
        log.warning("presence_not_noted", error=type(error).__name__)


@celery_app.task(name="run_step")  # type: ignore[untyped-decorator]
def run_step(step_id: str) -> None:
    """Claim and do steps until there is none left: the GPU process stays warm between them."""
    worker = worker_context()
    while not is_draining():
        claim = claim_next(worker)
        if claim is not None:
            work_on(worker, claim)
        elif worker.fitness.sick:
            _wait_for_release(worker, step_id)
        else:
            return


def _wait_for_release(worker: WorkerContext, step_id: str) -> None:
    """Pass a notification on, and take no other: this child's parent fetches none while it is at work."""
    with suppress(OperationalError):  # the scheduler sends it again
        publish(step_id)
    while not is_draining() and not worker.fitness.may_claim():
        time.sleep(LOOK_SECONDS)


@celery_app.task(name="do_base_model_task")  # type: ignore[untyped-decorator]
def do_base_model_task(task_id: str) -> None:
    """Do what operators ask of base models until nothing of it waits, then what else does."""
    while not is_draining() and do_next(worker_context()):
        pass
    run_step(task_id)
