"""Sends webhooks: claims due deliveries, posts them, writes down what came of it. Any number may run."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.errors import Unavailable
from app.http.schemas import rfc3339
from app.ledger.platform.deliveries import Message, Outcome, claim_delivery, record_attempt
from app.ledger.platform.webhooks import signing_versions
from app.settings import Settings
from app.webhooks.post import post
from app.webhooks.secrets import server_secret, signature_headers, webhook_secret
from app.webhooks.targets import BadTarget, Resolve, read_target, resolve

log = structlog.get_logger()

THREADS = 16  # receivers that are talked to at once
ANSWER_BYTES = 16_384  # of an answer: more is never read, and none of it is kept


class WebhookSender:
    """THREADS threads, each one delivery at a time, at most one per receiver.

    A project has at most as many of them as are idle: one alone half of them, two 8 and 4. So receivers that
    hang, of however many webhooks, leave threads for the next project.
    """

    def __init__(self, engine: Engine, settings: Settings, stopping: threading.Event) -> None:
        self._engine, self._settings, self._stopping = engine, settings, stopping
        self._busy: dict[str, str] = {}  # webhooks that are talked to: their projects
        self._claiming, self._looking = threading.Lock(), threading.Lock()
        self._freed = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"webhooks-{n}", daemon=True) for n in range(THREADS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                message = self._wait_for_one()
                if message is not None:
                    self._send(message)
            except SQLAlchemyError as error:
                log.warning("webhooks_not_sent", error=type(error).__name__)
                self._stopping.wait(self._settings.scheduler_seconds)

    def send_one(self) -> bool:
        """Send the delivery that is most overdue; False if none is due."""
        message = self._claim()
        if message is not None:
            self._send(message)
        return message is not None

    def _wait_for_one(self) -> Message | None:
        """One thread looks into the database; the other idle ones wait for their turn to."""
        with self._looking:
            while not self._stopping.is_set():
                self._freed.clear()
                message = self._claim()
                if message is not None:
                    return message
                self._freed.wait(self._settings.scheduler_seconds)
        return None

    def _claim(self) -> Message | None:
        with self._claiming:
            used = Counter(self._busy.values())
            idle = THREADS - used.total()
            full = [project for project, threads in used.items() if threads >= idle]
            message = claim_delivery(self._engine, list(self._busy), full)
            if message is not None:
                self._busy[message.webhook.id] = message.webhook.project_id
            return message

    def _send(self, message: Message) -> None:
        try:
            record_attempt(self._engine, message, attempt(message, self._settings), self._settings)
        finally:
            with self._claiming:
                del self._busy[message.webhook.id]
            self._freed.set()


def attempt(message: Message, settings: Settings, ask: Resolve | None = None) -> Outcome:
    """Post one message and say what came of it; whatever is wrong with the receiver raises nothing.

    The address is looked up once, checked, and connected to as it is: a name server that answers otherwise
    a moment later changes nothing. Redirects are answers like any other that is not 2xx.
    """
    began = time.monotonic()
    code: int | None = None
    try:
        target = read_target(message.webhook.url, settings.webhook_allowed_hosts)
        address = resolve(target, ask)
        code, _ = post(target, address, *_signed(message, settings), settings.webhook_seconds, ANSWER_BYTES)
        error = None if 200 <= code < 300 else f"The receiver answered with {code}."
    except BadTarget as bad:
        error = str(bad)
    except TimeoutError:
        error = f"The receiver did not answer within {settings.webhook_seconds:.0f} s."
    except Unavailable as unset:
        error = unset.detail
    except (OSError, http.client.HTTPException) as failure:
        error = f"The receiver could not be reached: {type(failure).__name__}."
    return Outcome(code, error, time.monotonic() - began)


def payload(message: Message) -> str:
    """The body: the same on every attempt, an event as GET /v1/jobs/{id}/events shows it."""
    delivery, event = message.delivery, message.event
    data: dict[str, Any] = {"object": "webhook_test", "webhook": delivery.webhook_id}
    if event is not None:
        data = {
            "object": "event",
            "id": f"evt_{event.job_id}_{event.seq}",
            "created_at": rfc3339(event.created_at),
            "job": event.job_id,
            "seq": event.seq,
            "type": event.type,
            "data": event.data,
        }
    happened = event.created_at if event is not None else delivery.created_at
    body = {"type": delivery.event_type, "timestamp": rfc3339(happened), "data": data}
    return json.dumps(body, ensure_ascii=True, separators=(",", ":"))


def _signed(message: Message, settings: Settings) -> tuple[str, dict[str, str]]:
    server = server_secret(settings)
    versions = signing_versions(message.webhook, message.now)
    own = [webhook_secret(server, message.webhook.id, version) for version in versions]
    body = payload(message)
    return body, signature_headers(own, message.id, message.now, body)
