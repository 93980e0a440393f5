"""The Celery app: it carries the ids of steps to workers and keeps nothing."""

from __future__ import annotations

import logging
from ctypes import c_bool, c_char
from functools import cache
from multiprocessing.sharedctypes import RawArray, RawValue
from queue import Empty
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, worker_ready, worker_shutting_down
from kombu import Queue  # type: ignore[attr-defined]
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

from app.ledger.platform.base_model_tasks import QUEUE as MODELS_QUEUE
from app.ledger.queue.capacity import DEFAULT_QUEUE
from app.settings import Settings
from worker.gpu.seen import own_capacity

log = logging.getLogger(__name__)  # of Celery's parent, which writes its lines in its own way
settings = Settings()
queues = {DEFAULT_QUEUE, *([MODELS_QUEUE] if settings.models_fetch else [])}
# Made before the pool forks, so that its child sees the parent's SIGTERM. No Event: a child that is killed
# while it holds an Event's lock leaves its parent waiting for that lock for ever.
_draining = RawValue(c_bool, False)
_own_queue, _is_named = RawArray(c_char, 200), RawValue(c_bool, False)  # what its child tells the parent
LOOK_SECONDS = 1.0

TRANSPORT_ALIASES["redis"] = f"{__name__}:Transport"  # below
celery_app = Celery("star", broker=settings.broker_url, include=["worker.tasks"])
celery_app.conf.update(
    task_acks_late=False,  # the lease brings work back, not the broker
    task_acks_on_failure_or_timeout=True,
    task_reject_on_worker_lost=False,
    task_ignore_result=True,
    task_queues=[Queue(name) for name in sorted(queues)],  # type: ignore[no-untyped-call]
    task_serializer="json",
    accept_content=["json"],
    task_publish_retry=False,  # the outbox is the retry
    worker_pool="prefork",  # the only pool with kill and drain
    worker_concurrency=1,  # one per GPU
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,  # a notification must not wait behind a busy GPU
    worker_cancel_long_running_tasks_on_connection_loss=False,  # a broker's blip must not kill a training run
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,  # our log lines are JSON already; Celery would put a prefix before each
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "global_keyprefix": "star:",
    },
)


@celeryd_init.connect  # type: ignore[untyped-decorator]
def listen_to_its_own_kind(**_: Any) -> None:
    """Listen to the queue of all workers that state the same. Only a worker looks at its GPUs for that."""
    celery_app.amqp.queues.select_add(Queue(own_capacity(settings).queue))  # type: ignore[no-untyped-call]


def listen_also_to(queue: str) -> None:
    """Called in the pool's child: its parent, which reads the queues, listens to this one too."""
    _own_queue.value = queue.encode()
    _is_named.value = True


@worker_ready.connect  # type: ignore[untyped-decorator]
def follow_its_child(sender: Any, **_: Any) -> None:
    """Listen to what the child declares. That changes where its GPUs were not seen when the parent began."""
    _follow(sender)


@cache
def _follow(consumer: Any) -> None:
    """Once for all connections, which the timer outlives."""

    def look() -> None:
        queue = _own_queue.value.decode() if _is_named.value else DEFAULT_QUEUE
        if queue not in celery_app.amqp.queues.consume_from:
            celery_app.amqp.queues.select_add(Queue(queue))  # type: ignore[no-untyped-call]
            consumer.add_task_queue(queue)

    consumer.timer.call_repeatedly(LOOK_SECONDS, look)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def drain(**_: Any) -> None:
    """Take no more steps, and return the current one to the queue."""
    _draining.value = True


def is_draining() -> bool:
    """Whether this worker was told to shut down."""
    return bool(_draining.value)


def publish(step_id: str, queue: str = DEFAULT_QUEUE) -> None:
    """Wake a worker that listens to this queue. Raises OperationalError if the broker does not take it."""
    celery_app.send_task("run_step", args=[step_id], queue=queue)


def publish_task(task_id: str, queue: str) -> None:
    """Wake a worker that may fetch base models. Raises OperationalError if the broker does not take it."""
    celery_app.send_task("do_base_model_task", args=[task_id], queue=queue)


class Channel(kombu_redis.Channel):
    """Drops malformed messages, which would end a worker on Celery's own channel. Lost notifications are sent
    again.
    """

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except ValueError as garbage:  # neither JSON nor UTF-8, or a body that is not base64
            log.warning("message_dropped: %s", type(garbage).__name__)
            raise Empty from garbage


class Transport(kombu_redis.Transport):
    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        if _is_message(message):
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        else:
            log.warning("message_dropped: not a message")


def _is_message(message: Any) -> bool:
    """Whether it has what kombu reads of a message without asking whether it is there."""
    if not isinstance(message, dict) or not isinstance(message.get("body"), str):
        return False
    properties = message.get("properties")
    if not isinstance(properties, dict) or not isinstance(properties.get("delivery_tag"), str):
        return False
    info = properties.get("delivery_info")
    addressed = isinstance(info, dict) and {"exchange", "routing_key"} <= info.keys()
    known = properties.get("body_encoding") in (None, "base64")
    return addressed and known and isinstance(message.get("headers", {}), dict)
