"""`star serve`, found by the commands that follow it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.star_client.recorded_platform import wait_until

STAR = [sys.executable, "-m", "star_client.cli.main"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def test_commands_find_the_platform_that_serve_runs_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STAR_")}
    environment["STAR_HOME"] = str(tmp_path)
    root = Path(__file__).parents[2]
    serve = [*STAR, "serve", "--port", str(free_port())]
    with subprocess.Popen(serve, cwd=root, env=environment, stderr=subprocess.DEVNULL) as platform:
        try:
            wait_until(
                lambda: (tmp_path / "url").exists() or platform.poll() is not None, "it does not start"
            )
            command = [*STAR, "models", "list", "--json"]
            listed = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
            assert listed.returncode == 0, listed.stderr
            assert all(json.loads(line)["object"] == "model" for line in listed.stdout.splitlines())
        finally:
            platform.send_signal(signal.SIGINT)
    assert platform.returncode == 0
    assert not (tmp_path / "url").exists()
