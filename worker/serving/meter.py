"""Counts what is written, by project, day and model, until it is recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Lock

import structlog
from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from app.database import transaction
from app.ledger.platform.text_usage import Writer, Written, add_text_usage
from worker.serving.waiting import Target

log = structlog.get_logger()


class Meter:
    """For several threads. What it has counted since it last recorded is lost with its process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._written: dict[Writer, Written] = {}

    def add(self, project_id: str, target: Target, written: Written) -> None:
        day = datetime.now(UTC).date().isoformat()
        self._add(Writer(project_id, day, target.adapter_id or target.model_id, target.model_id), written)

    def _add(self, who: Writer, written: Written) -> None:
        with self._lock:
            held = self._written.setdefault(who, Written())
            held.texts += written.texts
            held.prompt_tokens += written.prompt_tokens
            held.completion_tokens += written.completion_tokens
            held.executions += written.executions
            held.cpu_ms += written.cpu_ms

    def record(self, database: Database) -> None:
        """Move what was counted into the ledger, or keep it where that cannot be reached."""
        with self._lock:
            taken, self._written = self._written, {}
        if not taken:
            return
        try:
            with transaction(database) as session:
                add_text_usage(session, taken)
        except SQLAlchemyError as error:
            log.warning("text_usage_not_recorded", error=type(error).__name__)
            for who, written in taken.items():
                self._add(who, written)
