"""The embedded platform: its broker dies, its port is taken, others use the machine too."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import redis
import yaml
from structlog.testing import capture_logs

from tests.app.api_harness import MODEL, addition_rows, few_shot, make_model
from tests.databases import PROJECT
from tests.factories import SCRIPT, make_world
from tests.platforms import platform, wait_until
from worker.embedded import _make_private
from worker.valkey import free_port


@contextmanager
def started(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx2.Client]]:
    """A platform with a scripted sampler, and a client with its key."""
    make_model(home.parent / "model")
    models = home.parent / "models.yaml"
    models.write_text(yaml.safe_dump([{"id": MODEL, "location": str(home.parent / "model")}]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STAR_")}
    environment |= {
        "STAR_HOME": str(home),
        "STAR_MODELS_FILE": str(models),
        "STAR_SAMPLER": "scripted",
        "STAR_SAMPLER_SCRIPT": SCRIPT,
        "STAR_REDISPATCH_SECONDS": "1",
    }
    command = [sys.executable, "-m", "worker.embedded", "--port", str(free_port()), "--with-stdin"]
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdin=subprocess.PIPE) as running:
        try:
            wait_until(lambda: (home / "url").exists() or running.poll() is not None, "it does not start")
            key = (home / "api-key").read_text().strip()
            url = (home / "url").read_text().strip()
            with httpx2.Client(
                base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60
            ) as client:
                yield running, client
        finally:
            assert running.stdin is not None
            running.stdin.close()
            assert running.wait(120) == 0


def submit(client: httpx2.Client) -> str:
    rows = client.post("/v1/datasets?kind=scratchpad&validation=4", content=addition_rows())
    shown = {"name": "few-shot", "kind": "scratchpad", "examples": few_shot()}
    prompts = client.post("/v1/prompt-sets", json=shown)
    body = {
        "model": MODEL,
        "dataset": rows.json()["id"],
        "prompt_set": prompts.json()["id"],
        "config": {"iterations": 1, "generation": {"max_tokens": 100}},
    }
    made = client.post("/v1/jobs", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def server_of(running: subprocess.Popen[bytes]) -> psutil.Process | None:
    below = psutil.Process(running.pid).children(recursive=True)
    return next((one for one in below if one.name() in ("valkey-server", "redis-server")), None)


def test_a_job_ends_although_valkey_was_killed_and_nobody_else_can_reach_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with started(home) as (embedded, client):
        assert client.get("/readyz").json() == {"status": "ok", "broker": "ok"}
        server = server_of(embedded)
        assert server is not None
        assert server.net_connections("tcp") == []
        (listening,) = {str(one.laddr) for one in server.net_connections("unix") if str(one.laddr)}
        assert stat.S_IMODE(Path(listening).parent.stat().st_mode) == 0o700
        server.kill()
        job = submit(client)
        wait_until(
            lambda: bool((found := server_of(embedded)) and found.pid != server.pid), "no other Valkey"
        )
        wait_until(
            lambda: client.get(f"/v1/jobs/{job}").json()["status"] in ("succeeded", "failed"), "no end"
        )
        shown: dict[str, Any] = client.get(f"/v1/jobs/{job}").json()
        assert shown["status"] == "succeeded", shown["status_reason"]
        wait_until(lambda: client.get("/readyz").json()["broker"] == "ok", "no broker")
        others = stat.S_IRWXG | stat.S_IRWXO
        files = [home, *home.rglob("*")]
        assert [str(path) for path in files if path.lstat().st_mode & others] == []
        assert len(files) > 10


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    environment = os.environ | {"STAR_HOME": str(tmp_path / "home")}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "worker.embedded", "--port", str(port)]
        ended = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"Port {port} of 127.0.0.1 cannot be used: Address already in use." in ended.stderr
    assert not (tmp_path / "home" / "valkey").exists()


@pytest.mark.parametrize("garbage", [b"garbage", b"1", b"[]", b"{}", b'{"properties": {}}', b"\xff"])
def test_what_is_no_message_does_not_end_a_worker(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path, garbage: bytes
) -> None:
    world = make_world(sqlite_database_url, tmp_path / "home")
    with platform(world, empty_valkey_url) as running:
        name = running.worker()
        with redis.Redis.from_url(empty_valkey_url) as broker:
            broker.lpush("star:celery", garbage)
            wait_until(lambda: broker.llen("star:celery") == 0, "not taken")
        running.scheduler()
        running.wait_for(world.submit(iterations=1), "succeeded")
        assert running.parts[name].poll() is None


def test_files_of_a_version_without_a_umask_are_made_private(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir(mode=0o755)
    for path in (tmp_path / "star.db", tmp_path / "logs" / "api.log"):
        path.write_text("x")
        path.chmod(0o644)
    (tmp_path / "link").symlink_to("/etc/hostname")
    before = stat.S_IMODE(Path("/etc/hostname").stat().st_mode)
    with capture_logs() as said:
        _make_private(tmp_path)
        _make_private(tmp_path)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in tmp_path.rglob("*")}
    assert (modes["logs"], modes["star.db"], modes["api.log"]) == (0o700, 0o600, 0o600)
    assert stat.S_IMODE(Path("/etc/hostname").stat().st_mode) == before, "a link leads out of the folder"
    assert [one["event"] for one in said] == ["files_made_private"], "the second time there is nothing to do"
