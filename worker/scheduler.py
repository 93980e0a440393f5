"""Sends notifications and webhooks, ends expired leases and over-budget jobs, removes what was deleted.

Any number may run at once.

python -m worker.scheduler
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from functools import partial

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
from app.outages import is_outage
from app.settings import Settings
from app.storage import Storage
from app.tracing.start import start_tracing
from worker.celery import publish, publish_task
from worker.webhook_sender import THREADS, WebhookSender

TIDY_SECONDS = 60.0

log = structlog.get_logger()


def turn(engine: Engine, settings: Settings, storage: Storage) -> None:
    """Run every duty once. An unavailable database or broker costs this turn, not the process."""
    done = _each(
        "scheduler_turn_failed",
        steps_reaped=partial(reap, engine, settings),
        jobs_ended=partial(end_all_exhausted, engine),
        notified_again=partial(notify_again, engine, settings),
        relayed=partial(relay, engine, publish),
        notified_of_tasks=partial(notify_of_tasks, engine, publish_task, settings.redispatch_seconds),
        deleted_objects_removed=partial(remove_deleted, engine, storage),
    )
    for name in ("steps_reaped", "deleted_objects_removed"):
        if done[name]:
            log.info(name, count=done[name])


def tidy(engine: Engine, storage: Storage) -> None:
    """Adapters and files that nothing keeps, killed uploads, old logs. What fails is tried again later."""
    done = _each(
        "tidying_failed",
        adapters_deleted=partial(apply_retention, engine),
        artifacts_removed=partial(remove_weights, engine, storage),
        files_removed=partial(remove_deleted_files, engine, storage),
        uploads_removed=partial(remove_abandoned, engine),
        deliveries_forgotten=partial(forget_deliveries, engine),
        keys_forgotten=partial(forget_keys, engine),
        projects_emptied=partial(empty_projects, engine),
        aged=partial(remove_by_age, engine),
    )
    seen = ("adapters_deleted", "artifacts_removed", "files_removed", "uploads_removed", "aged")
    if any(done[name] for name in seen):
        log.info("tidied", **{name: done[name] for name in seen})


def _each(event: str, **duties: Callable[[], object]) -> dict[str, object]:
    """What each duty returned; None where it failed, which is logged.

    Without a database the others are not tried. Whatever else fails keeps no other duty from its work: a row
    of one project that cannot be dealt with must not end what all projects need.
    """
    done: dict[str, object] = dict.fromkeys(duties)
    for name, duty in duties.items():
        try:
            done[name] = duty()
        except Exception as error:
            passing = isinstance(error, SQLAlchemyError | OperationalError | OSError)
            log.warning(event, duty=name, error=type(error).__name__, exc_info=None if passing else error)
            if is_outage(error):
                break
    return done


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
