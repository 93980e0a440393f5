"""A worker for batch systems: `python -m worker.until_idle` does steps until there is none, and then ends.

It asks the ledger itself and needs no notifications. SIGTERM has it hand its step back, as for other workers.
"""

from __future__ import annotations

import argparse
import signal
import time
from threading import Thread

import structlog

from worker.celery import drain, is_draining
from worker.context import WorkerContext
from worker.shared_calls import work_on
from worker.tasks import be_present, end_tracing, worker_context
from worker.tracing.claims import claim_next

log = structlog.get_logger()

PAUSE_SECONDS = 1.0  # between two looks into a queue that is empty


def work_until_idle(worker: WorkerContext, idle_seconds: float) -> int:
    """Do steps until none was there for `idle_seconds`, or this worker drains; return how many were done."""
    done, idle_since = 0, time.monotonic()
    while not is_draining() and time.monotonic() - idle_since < idle_seconds:
        claim = claim_next(worker)
        if claim is None:
            time.sleep(PAUSE_SECONDS)
            continue
        work_on(worker, claim)
        done, idle_since = done + 1, time.monotonic()
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle-seconds", type=float, default=300, help="without a step, before it ends")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: drain())
    worker = worker_context()
    presence = Thread(target=be_present, args=[worker], name="presence", daemon=True)
    presence.start()
    try:
        done = work_until_idle(worker, arguments.idle_seconds)
    finally:
        drain()
        worker.drop_gpu()
        presence.join()
        end_tracing()
    log.info("worker_ended", steps=done)


if __name__ == "__main__":
    main()
