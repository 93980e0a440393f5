from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis

from worker import valkey
from worker.valkey import ValkeyUnavailable, find_server, start_valkey

PROJECT = Path(valkey.__file__).parents[1]
STARTER = """
import pathlib, sys, time
from worker.valkey import start_valkey
running = start_valkey(pathlib.Path(sys.argv[1]))
print(running.process.pid, running.url, flush=True)
time.sleep(600)
"""


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def server_of(supervisor: int) -> psutil.Process:
    children = psutil.Process(supervisor).children()
    assert len(children) == 1
    return children[0]


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_queued_messages_survive_kill_9_of_the_server(tmp_path: Path) -> None:
    first = start_valkey(tmp_path)
    with redis.Redis.from_url(first.url) as client:
        client.lpush("queue", "step_1")
        client.config_set("appendfsync", "always")
        client.lpush("queue", "step_2")
    server_of(first.process.pid).kill()
    assert first.process.wait(timeout=60) == 128 + signal.SIGKILL

    second = start_valkey(tmp_path)
    with redis.Redis.from_url(second.url) as client:
        assert client.lrange("queue", 0, -1) == [b"step_2", b"step_1"]
    second.stop()


def test_server_evicts_nothing_and_listens_on_loopback_only(tmp_path: Path) -> None:
    running = start_valkey(tmp_path)
    with redis.Redis.from_url(running.url) as client:
        assert client.config_get("maxmemory-policy", "appendonly", "bind") == {
            "maxmemory-policy": "noeviction",
            "appendonly": "yes",
            "bind": "127.0.0.1",
        }
    running.stop()


def test_stop_ends_server_and_supervisor_and_may_be_repeated(tmp_path: Path) -> None:
    running = start_valkey(tmp_path)
    server = server_of(running.process.pid)
    running.stop()
    running.stop()
    assert gone(server)
    assert running.process.returncode == 0


def test_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[valkey.RunningValkey] = []
    thread = threading.Thread(target=lambda: started.append(start_valkey(tmp_path)))
    thread.start()
    thread.join()
    with redis.Redis.from_url(started[0].url) as client:
        assert client.ping()
    started[0].stop()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_server_is_gone_after_its_starter_was_killed(tmp_path: Path, how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(valkey.__file__).parents[1],
    ) as starter:
        assert starter.stdout is not None
        supervisor = psutil.Process(int(starter.stdout.readline().split()[0]))
        server = server_of(supervisor.pid)
        starter.send_signal(how)
    wait_until(lambda: gone(server) and gone(supervisor))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_server_is_gone_after_its_supervisor_was_killed(tmp_path: Path, how: signal.Signals) -> None:
    running = start_valkey(tmp_path)
    server = server_of(running.process.pid)
    running.process.send_signal(how)
    wait_until(lambda: gone(server))
    running.process.wait(timeout=60)
    running.stop()


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    running = start_valkey(tmp_path / "first")
    port = int(running.url.rsplit(":", 1)[1].split("/")[0])
    with pytest.raises(ValkeyUnavailable, match="did not start"):
        start_valkey(tmp_path / "second", port)
    with redis.Redis.from_url(running.url) as client:
        assert client.ping()
    running.stop()


def test_server_on_path_is_preferred_to_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = tmp_path / "redis-server"
    on_path.write_text("#!/bin/sh\n")
    on_path.chmod(on_path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == on_path
    on_path.unlink()
    assert find_server().name == "valkey-server"
    assert os.access(find_server(), os.X_OK)
