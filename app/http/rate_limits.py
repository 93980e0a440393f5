"""How often a key may ask: a moving window per key, counted in Redis so that all API processes share it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from time import monotonic, time
from urllib.parse import urlsplit

import structlog
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.settings import Settings

log = structlog.get_logger()

REDIS_SECONDS = 0.5  # what counting may cost a request; more, and it is counted here instead
REDIS_PAUSE_SECONDS = 10.0  # without Redis after it failed, so that not every request waits for it


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a key may still ask in the current window."""

    allowed: bool
    limit: int
    window_seconds: int
    remaining: int
    reset_seconds: int  # until the oldest counted request is forgotten

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields of draft-ietf-httpapi-ratelimit-headers-10."""
        named = [
            ("ratelimit-policy", f'"key";q={self.limit};w={self.window_seconds}'),
            ("ratelimit", f'"key";r={self.remaining};t={self.reset_seconds}'),
        ]
        if not self.allowed:
            named.append(("retry-after", str(self.reset_seconds)))
        return [(name.encode(), value.encode()) for name, value in named]


class RateLimits:
    """Counts requests. A Redis that does not answer refuses nobody: this process then counts on its own."""

    def __init__(self, settings: Settings) -> None:
        self._item: RateLimitItem = parse(settings.rate_limit)
        self._here = MovingWindowRateLimiter(MemoryStorage())
        self._shared = _shared(settings)
        self._shared_again_at = 0.0

    def hit(self, key_id: str) -> Allowance:
        """Count one request of this key."""
        if self._shared is not None and monotonic() >= self._shared_again_at:
            try:
                return self._count(self._shared, key_id)
            except StorageError as failure:
                self._shared_again_at = monotonic() + REDIS_PAUSE_SECONDS
                log.warning("rate_limits_not_shared", error=type(failure.storage_error).__name__)
        return self._count(self._here, key_id)

    def _count(self, window: MovingWindowRateLimiter, key_id: str) -> Allowance:
        allowed = window.hit(self._item, key_id)
        stats = window.get_window_stats(self._item, key_id)
        return Allowance(
            allowed=allowed,
            limit=self._item.amount,
            window_seconds=self._item.get_expiry(),
            remaining=max(0, stats.remaining),
            reset_seconds=max(1, ceil(stats.reset_time - time())),
        )


def _shared(settings: Settings) -> MovingWindowRateLimiter | None:
    """None where no broker is named: then there is one API process, which counts by itself."""
    named = "broker_url" in settings.model_fields_set
    if not named or urlsplit(settings.broker_url).scheme not in ("redis", "rediss"):
        return None
    storage = storage_from_string(
        settings.broker_url,
        wrap_exceptions=True,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
    )
    return MovingWindowRateLimiter(storage)


class RateLimitHeaders:
    """ASGI middleware: tells every caller where they stand, whatever kind of answer the route gives."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            allowance = scope.get("state", {}).get("allowance")
            if message["type"] == "http.response.start" and allowance is not None:
                message["headers"] = [*message["headers"], *allowance.headers()]
            await send(message)

        await self.app(scope, receive, tell)
