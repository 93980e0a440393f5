"""How often a key and a project may ask: moving windows, in Redis so that all API processes share them.

Wrong keys are counted by the address that they come from, by each process for itself.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from hashlib import sha256
from math import ceil
from threading import Lock
from time import monotonic, time
from typing import Literal

import structlog
from anyio import CapacityLimiter, to_thread
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.storage.base import Storage
from limits.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.broker import is_redis, redis_url
from app.settings import Settings

Of = Literal["key", "project", "address"]

log = structlog.get_logger()

REDIS_SECONDS = 0.5  # what counting may cost a request; more, and it is counted here instead
REDIS_THREADS = 8
KNOWN_KEYS = 10_000
LOOKED_AT = 4  # names per request that may be forgotten: more than a request can add
REDIS_PAUSE_SECONDS = 10.0  # without Redis after it failed, so that not every request waits for it


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a key, a project or an address may still ask in the current window."""

    allowed: bool
    limit: int
    window_seconds: int
    remaining: int
    reset_seconds: int  # until the oldest counted request is forgotten
    of: Of

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields of draft-ietf-httpapi-ratelimit-headers-10."""
        named = [
            ("ratelimit-policy", f'"{self.of}";q={self.limit};w={self.window_seconds}'),
            ("ratelimit", f'"{self.of}";r={self.remaining};t={self.reset_seconds}'),
        ]
        if not self.allowed:
            named.append(("retry-after", str(self.reset_seconds)))
        return [(name.encode(), value.encode()) for name, value in named]


class _Window:
    """When a name has asked, oldest first, in seconds of time()."""

    __slots__ = ("seconds", "times")

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.times: deque[float] = deque()

    def forget(self, now: float) -> None:
        while self.times and self.times[0] < now - self.seconds:
            self.times.popleft()


class Windows(MemoryStorage):
    """What the library's own storage does, without its thread: that was started again every 10 ms in which
    somebody asked, requests waited for its start, and it looked through all names, which it kept for ever.
    """

    STORAGE_SCHEME = ["windows"]  # noqa: RUF012 - the library's word, for what is found by a URL

    def __init__(self) -> None:
        Storage.__init__(self)
        self._windows: OrderedDict[str, _Window] = OrderedDict()  # who asked last comes last
        self._turn = Lock()

    def __len__(self) -> int:
        """How many names are remembered."""
        return len(self._windows)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` requests of a name, unless they are more than `limit` within `expiry` seconds."""
        now = time()
        with self._turn:
            self._forget(now)
            window = self._windows.setdefault(key, _Window(expiry))
            window.forget(now)
            if len(window.times) + amount > limit:
                return False
            window.times.extend([now] * amount)
            self._windows.move_to_end(key)
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the window of a name began, in seconds of time(), and how many requests are in it."""
        now = time()
        with self._turn:
            window = self._windows.get(key)
            if window is not None:
                window.forget(now)
            return (window.times[0], len(window.times)) if window is not None and window.times else (now, 0)

    def _forget(self, now: float) -> None:
        """Forget the names that have asked longest ago, where their windows are over."""
        for _ in range(min(LOOKED_AT, len(self._windows))):
            name, window = next(iter(self._windows.items()))
            window.forget(now)
            if window.times:
                return
            del self._windows[name]


class RateLimits:
    """Counts requests. A Redis that does not answer refuses nobody: this process then counts on its own."""

    def __init__(self, settings: Settings) -> None:
        self._per_key: RateLimitItem = parse(settings.rate_limit)
        self._per_project: RateLimitItem = parse(settings.project_rate_limit)
        self._here = MovingWindowRateLimiter(Windows())
        self._shared = _shared(settings)
        self._shared_again_at = 0.0
        self._threads: CapacityLimiter | None = None  # that wait for Redis

    async def count(self, key_id: str, project_id: str) -> Allowance:
        """Count one request; in a thread of its own where Redis is asked."""
        if self._shared is None or monotonic() < self._shared_again_at:
            return self.hit(key_id, project_id)
        self._threads = self._threads or CapacityLimiter(REDIS_THREADS)
        return await to_thread.run_sync(self.hit, key_id, project_id, limiter=self._threads)

    def hit(self, key_id: str, project_id: str) -> Allowance:
        """Count one request of this key; of its project too, where the key may ask."""
        if self._shared is not None and monotonic() >= self._shared_again_at:
            try:
                return self._count(self._shared, key_id, project_id)
            except StorageError as failure:
                self._shared_again_at = monotonic() + REDIS_PAUSE_SECONDS
                log.warning("rate_limits_not_shared", error=type(failure.storage_error).__name__)
        return self._count(self._here, key_id, project_id)

    def _count(self, window: MovingWindowRateLimiter, key_id: str, project_id: str) -> Allowance:
        allowed = window.hit(self._per_key, key_id)
        if allowed and not window.hit(self._per_project, project_id):
            return _standing(window, self._per_project, project_id, "project", allowed=False)
        return _standing(window, self._per_key, key_id, "key", allowed=allowed)


class Strangers:
    """Counts wrong keys by address. Where too many came from one, only keys that are known here still count
    as keys: the others of that address wait, and cost no query."""

    def __init__(self, settings: Settings) -> None:
        self._limit: RateLimitItem = parse(settings.wrong_key_limit)
        self._links: RateLimitItem = parse(settings.shared_report_limit)
        self._window = MovingWindowRateLimiter(Windows())
        self._known: OrderedDict[bytes, None] = OrderedDict()  # SHA-256 of keys that were valid here

    def wrong_key(self, address: str) -> None:
        self._window.hit(self._limit, address)

    def sign_in(self, address: str) -> Allowance | None:
        """Count a sign-in as a person; return the limit that this address has exceeded, or None."""
        name = f"sign-in {address}"
        if self._window.hit(self._limit, name):
            return None
        return _standing(self._window, self._limit, name, "address", allowed=False)

    def open_link(self, address: str) -> Allowance | None:
        """The same of a report that is opened by a link."""
        name = f"link {address}"
        if self._window.hit(self._links, name):
            return None
        return _standing(self._window, self._links, name, "address", allowed=False)

    def remember(self, key: str) -> None:
        name = sha256(key.encode()).digest()
        self._known[name] = None
        self._known.move_to_end(name)
        if len(self._known) > KNOWN_KEYS:
            self._known.popitem(last=False)

    def shut_out(self, address: str, key: str) -> Allowance | None:
        """Return the limit that this key of this address has exceeded, or None."""
        if self._window.test(self._limit, address) or sha256(key.encode()).digest() in self._known:
            return None
        return _standing(self._window, self._limit, address, "address", allowed=False)


def _standing(
    window: MovingWindowRateLimiter, item: RateLimitItem, name: str, of: Of, *, allowed: bool
) -> Allowance:
    stats = window.get_window_stats(item, name)
    return Allowance(
        allowed=allowed,
        limit=item.amount,
        window_seconds=item.get_expiry(),
        remaining=max(0, stats.remaining),
        reset_seconds=max(1, ceil(stats.reset_time - time())),
        of=of,
    )


def _shared(settings: Settings) -> MovingWindowRateLimiter | None:
    """Return the shared counter, or None without a broker (then the only API process counts in memory)."""
    named = "broker_url" in settings.model_fields_set
    if not named or not is_redis(settings.broker_url):
        return None
    storage = storage_from_string(
        redis_url(settings.broker_url, "redis+unix"),
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
