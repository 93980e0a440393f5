"""The embedded platform for the length of a `with` block, so that an example is one command."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120.0
STOP_SECONDS = 90.0  # a worker hands its step back first


@contextmanager
def running_platform(home: Path, **settings: str) -> Iterator[str]:
    """Start the platform in `home` with these STAR_* settings; yields its URL. It ends with this process."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "url").unlink(missing_ok=True)
    with (home / "platform.log").open("ab") as log:
        platform = subprocess.Popen(
            [sys.executable, "-m", "worker.embedded", "--port", str(_free_port()), "--with-stdin"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "STAR_HOME": str(home.resolve()), **settings},
            start_new_session=True,  # Ctrl-C is for the example, which then stops the platform in order
        )
    try:
        yield _wait_for_url(home, platform)
    finally:
        _stop(platform)


def _wait_for_url(home: Path, platform: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_SECONDS
    while platform.poll() is None and time.monotonic() < deadline:
        if (home / "url").exists():
            return (home / "url").read_text().strip()
        time.sleep(0.1)
    last_words = (home / "platform.log").read_text(errors="replace").splitlines()[-5:]
    raise SystemExit("The platform did not start:\n" + "\n".join(last_words))


def _stop(platform: subprocess.Popen[bytes]) -> None:
    if platform.stdin is not None:
        platform.stdin.close()
    try:
        platform.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        platform.kill()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
