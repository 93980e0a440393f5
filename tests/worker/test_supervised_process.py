from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from worker import supervised_process

IGNORES_SIGTERM = """
import signal, pathlib, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""


def test_exit_status_of_the_program_is_that_of_its_supervisor() -> None:
    assert supervised_process.start(["sh", "-c", "exit 7"]).wait(timeout=60) == 7


def test_program_that_ignores_the_stop_signal_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    supervisor = supervised_process.start([sys.executable, "-c", IGNORES_SIGTERM, ready], grace_s=0.1)
    deadline = time.monotonic() + 60
    while not ready.exists():
        assert time.monotonic() < deadline, "the program did not start"
        time.sleep(0.01)
    assert supervised_process.stop(supervisor) == 128 + signal.SIGKILL


def test_program_gets_the_stop_signal_it_was_started_with() -> None:
    supervisor = supervised_process.start(["sleep", "600"], stop_signal=signal.SIGINT)
    assert supervised_process.stop(supervisor) == 128 + signal.SIGINT


def test_output_and_environment_are_those_asked_for(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        program = ["sh", "-c", "echo $WORD; pwd; echo error >&2"]
        assert (
            supervised_process.start(program, cwd=tmp_path, env={"WORD": "star"}, output=output).wait(
                timeout=60
            )
            == 0
        )
    assert (tmp_path / "output").read_text().split() == ["star", str(tmp_path), "error"]
