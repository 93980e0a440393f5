"""Sends notifications and webhooks, ends expired leases and over-budget jobs, removes what was deleted.

Any number may run at once.

python -m worker.scheduler
"""

from __future__ import annotations

import signal
import threading
import time

import structlog
from kombu.exceptions import OperationalError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.database import make_engine
from app.ledger.data.files import remove_deleted_files
from app.ledger.data.staging import remove_abandoned
from app.ledger.deletion.by_age import remove_by_age
from app.ledger.deletion.projects import empty_projects
from app.ledger.deletion.remove import remove_deleted
from app.ledger.jobs.retention import apply_retention, remove_weights
from app.ledger.platform.base_model_tasks import notify_of_tasks
from app.ledger.platform.deliveries import forget_deliveries
from app.ledger.platform.idempotency import forget_keys
from app.ledger.queue.budgets import end_all_exhausted
from app.ledger.queue.outbox import relay
from app.ledger.queue.reaper import notify_again, reap
from app.log import configure_logging
from app.settings import Settings
from app.storage import Storage
from app.tracing.start import start_tracing
from worker.celery import publish, publish_task
from worker.webhook_sender import THREADS, WebhookSender

TIDY_SECONDS = 60.0

log = structlog.get_logger()


def turn(engine: Engine, settings: Settings, storage: Storage) -> None:
    """Run every duty once. An unavailable database or broker costs this turn, not the process."""
    try:
        reaped = reap(engine, settings)
        end_all_exhausted(engine)
        notify_again(engine, settings)
        relay(engine, publish)
        notify_of_tasks(engine, publish_task, settings.redispatch_seconds)
        removed = remove_deleted(engine, storage)
    except (SQLAlchemyError, OperationalError, OSError) as error:
        log.warning("scheduler_turn_failed", error=type(error).__name__)
    else:
        if reaped:
            log.info("steps_reaped", count=reaped)
        if removed:
            log.info("deleted_objects_removed", count=removed)


def tidy(engine: Engine, storage: Storage) -> None:
    """Adapters and files that nothing keeps, killed uploads, old logs. What fails is tried again later."""
    try:
        deleted = apply_retention(engine)
        removed = remove_weights(engine, storage) + remove_deleted_files(engine, storage)
        abandoned = remove_abandoned(engine)
        forget_deliveries(engine)
        forget_keys(engine)
        empty_projects(engine)
        aged = remove_by_age(engine)
    except (SQLAlchemyError, OSError) as error:
        log.warning("tidying_failed", error=type(error).__name__)
    else:
        if deleted or removed or abandoned or aged:
            log.info(
                "tidied",
                adapters_deleted=deleted,
                artifacts_removed=removed,
                uploads_removed=abandoned,
                aged=aged,
            )


def main() -> None:
    configure_logging()
    settings = Settings()
    end_tracing = start_tracing(settings, "scheduler")
    engine = make_engine(settings.resolved_database_url(), pool_size=1 + THREADS // 4)
    storage = Storage(settings.resolved_storage_url())
    tidied = -TIDY_SECONDS
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    sender = WebhookSender(engine, settings, stopping)  # threads: a slow receiver must not hold up the reaper
    sender.start()
    log.info("scheduler_started")
    while not stopping.is_set():
        turn(engine, settings, storage)
        if time.monotonic() - tidied >= TIDY_SECONDS:
            tidy(engine, storage)
            tidied = time.monotonic()
        stopping.wait(settings.scheduler_seconds)
    end_tracing()


if __name__ == "__main__":
    main()
