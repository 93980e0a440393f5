"""The broker as others than Celery ask for it: whether it answers. Work is lost by none of its failures."""

from __future__ import annotations

from time import monotonic
from typing import Literal
from urllib.parse import urlsplit

ANSWER_SECONDS = 0.5
KNOWN_SECONDS = 2.0  # what was found is told again, so that whoever asks often costs the broker nothing
SOCKET = "redis+socket"  # how Celery names a Unix socket

Standing = Literal["ok", "away", "unknown"]


def redis_url(broker_url: str, scheme: str = "unix") -> str:
    """The broker's URL as redis-py takes it: a socket has another scheme there, and a third in `limits`."""
    return broker_url.replace(f"{SOCKET}:", f"{scheme}:", 1)


def is_redis(broker_url: str) -> bool:
    return urlsplit(broker_url).scheme in ("redis", "rediss", SOCKET)


class Broker:
    """Asked by one thread or many."""

    def __init__(self, url: str | None) -> None:
        """None: no broker was named."""
        self._client = None
        if url is not None and is_redis(url):
            import redis  # 0.1 s, which an API without a broker starts sooner

            self._client = redis.Redis.from_url(
                redis_url(url),
                socket_timeout=ANSWER_SECONDS,
                socket_connect_timeout=ANSWER_SECONDS,
                retry=None,
            )
        self._found: Standing = "unknown"
        self._asked_at = float("-inf")

    def standing(self) -> Standing:
        """Whether it answers, as of KNOWN_SECONDS ago at most."""
        if self._client is not None and monotonic() > self._asked_at + KNOWN_SECONDS:
            from redis import RedisError

            self._asked_at = monotonic()
            try:
                self._client.ping()
                self._found = "ok"
            except RedisError:
                self._found = "away"
        return self._found
