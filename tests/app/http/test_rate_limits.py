"""How often a key may ask, counted by one process or in Redis, and by nobody's leave if Redis is gone."""

from __future__ import annotations

import socket
from pathlib import Path

from structlog.testing import capture_logs

from app.http.rate_limits import RateLimits
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
