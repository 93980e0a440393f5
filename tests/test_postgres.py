from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg

from tests.databases import PROJECT
from tests.postgres import bundled_binaries, start_postgres

STARTER = """
import time
from tests.postgres import start_postgres
running = start_postgres()
print(running.process.pid, running.folder, flush=True)
time.sleep(600)
"""


def test_server_of_the_wheel_runs_where_the_one_found_may_not_be_run(tmp_path: Path) -> None:
    running = start_postgres(tmp_path)
    with psycopg.connect(running.url) as connection:
        assert connection.info.server_version >= 180000
    running.stop()
    assert not running.folder.exists()


def test_server_of_the_wheel_runs_in_place() -> None:
    running = start_postgres(bundled_binaries())
    with psycopg.connect(running.url) as connection:
        assert connection.info.server_version >= 180000
    running.stop()


def test_server_is_gone_after_its_starter_was_killed_and_its_folder_at_the_next_start() -> None:
    command = [sys.executable, "-c", STARTER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT) as starter:
        assert starter.stdout is not None
        supervisor, folder = starter.stdout.readline().decode().split()
        processes = psutil.Process(int(supervisor)).children(recursive=True)
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(process.is_running() for process in processes):
        assert time.monotonic() < deadline, "PostgreSQL outlived its starter"
        time.sleep(0.02)
    start_postgres().stop()
    assert not Path(folder).exists(), "the next server to start clears up after one that was killed"
