"""How often a key may ask, counted by one process or in Redis, and by nobody's leave if Redis is gone."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from threading import Thread

import pytest
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from structlog.testing import capture_logs

from app.http import rate_limits
from app.http.rate_limits import RateLimits, Windows
from app.settings import Settings
from tests.app.api_harness import serve


def test_key_that_asks_too_often_is_told_when_it_may_again(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home", rate_limit="3/hour") as api:
        answers = [api.client.get("/v1/jobs") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=3600'
        assert answers[0].headers["ratelimit"].startswith('"key";r=2;t=')
        assert "retry-after" not in answers[0].headers
        refused = answers[3]
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
        assert (refused.json()["code"], refused.headers["content-type"]) == (
            "rate_limited",
            "application/problem+json",
        )
        assert api.client.get("/v1/jobs", headers=api.other).status_code == 200
        assert "ratelimit" not in api.client.get("/healthz").headers


def test_processes_share_what_they_count_in_redis(empty_valkey_url: str) -> None:
    settings = Settings(broker_url=empty_valkey_url, rate_limit="3/hour")
    one, other = RateLimits(settings), RateLimits(settings)
    assert [counter.hit("key_a", "proj_a").allowed for counter in (one, other, one, other)] == [
        True,
        True,
        True,
        False,
    ]
    assert other.hit("key_b", "proj_a").remaining == 2


def test_redis_that_is_gone_refuses_nobody() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{unused.getsockname()[1]}/0"
        limits = RateLimits(Settings(broker_url=url, rate_limit="3/hour"))
        with capture_logs() as logs:
            found = [limits.hit("key_a", "proj_a").allowed for _ in range(3)]
    assert found == [True] * 3
    assert [entry["event"] for entry in logs] == ["rate_limits_not_shared"]


def asked(windows: Windows, limit: RateLimitItem, names: Sequence[str]) -> list[bool]:
    limiter = MovingWindowRateLimiter(windows)
    return [limiter.hit(limit, name) for name in names]


def test_a_window_moves_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the library's own does, request by request."""
    now = 1000.0
    for module in (rate_limits, time):
        monkeypatch.setattr(module, "time", lambda: now)
    limit, chance = parse("5/minute"), Random(7)
    ours, theirs = (MovingWindowRateLimiter(storage) for storage in (Windows(), MemoryStorage()))
    seen = []
    for _ in range(500):
        now += chance.choice([0, 0.53, 7.03, 13.17, 61])
        name = chance.choice("ab")
        found = [(one.test(limit, name), one.hit(limit, name)) for one in (ours, theirs)]
        standing = [one.get_window_stats(limit, name) for one in (ours, theirs)]
        assert found[0] == found[1]
        assert standing[0] == standing[1]
        seen.append(found[0])
    assert {(True, True), (False, False)} == set(seen)


def test_names_whose_window_is_over_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of addresses that each tried a wrong key once would be kept for ever."""
    now = 1000.0
    monkeypatch.setattr(rate_limits, "time", lambda: now)
    windows, limit = Windows(), parse("5/minute")
    asked(windows, limit, [f"address {number}" for number in range(3000)])
    assert len(windows) == 3000
    now += 61
    asked(windows, limit, [f"another {number}" for number in range(1000)])
    assert len(windows) == 1000


def test_counting_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request would wait for its start while other threads compute."""
    started: list[Thread] = []
    monkeypatch.setattr(Thread, "start", started.append)
    asked(Windows(), parse("5/minute"), ["a"] * 9)
    assert RateLimits(Settings(rate_limit="3/hour")).hit("key", "project").allowed
    assert started == []
