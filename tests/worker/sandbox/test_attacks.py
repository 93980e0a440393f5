"""The attack suite, on every implementation that runs here: 0 escapes, every verdict right."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from app.sandbox import RemoteRunner
from star_engine.tasks.programs.execution import CodeRunner, Execution, Limits, Program, Status
from tests.databases import PROJECT
from tests.platforms import wait_until
from tests.worker.sandbox.attacks import BOUNDED, ESCAPES, FORGERIES, RIGHT, UNKNOWN
from worker.sandbox.local import LAUNCHER, LocalRunner
from worker.sandbox.monty import MontyRunner
from worker.sandbox.service import service
from worker.valkey import free_port

LIMITS = Limits(cpu_s=1, wall_s=20, memory_mb=128, output_bytes=8192)
SHORT = Limits(cpu_s=1, wall_s=3, memory_mb=128, output_bytes=8192)
NOBODY = "nobody"
LAUNCH = (
    f"import runpy, sys; sys.path += sys.argv[1:]; runpy.run_path({str(LAUNCHER)!r}, run_name='__main__')"
)


@cache
def python_for_nobody() -> str | None:
    """A Python 3.11 that a user without rights can execute; None where this process cannot become one."""
    if os.geteuid() != 0:
        return None
    for path in (sys.executable, "/usr/bin/python3.11", "/usr/local/bin/python3.11"):
        try:
            ended = subprocess.run([path, "-I", "-c", "import json"], user=NOBODY, capture_output=True)
        except OSError:
            continue
        if ended.returncode == 0:
            return path
    return None


@contextmanager
def local() -> Iterator[CodeRunner]:
    with closing(LocalRunner(2)) as runner:
        yield runner


@contextmanager
def local_as_nobody() -> Iterator[CodeRunner]:
    packages = [path for path in sys.path if path.endswith("site-packages")]
    command = [str(python_for_nobody()), "-I", "-B", "-c", LAUNCH, *packages]
    with closing(LocalRunner(2, command=command, user=NOBODY)) as runner:
        yield runner


@contextmanager
def remote() -> Iterator[CodeRunner]:
    with closing(LocalRunner(2)) as behind, serve(behind) as url, closing(RemoteRunner(url)) as runner:
        yield runner


@contextmanager
def serve(behind: CodeRunner) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(service(behind), port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the sandbox service listens", 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


# The service's sandboxes are started by whoever runs the tests, root in a container; where that is root, the
# others by a user without rights.
RUNNERS: dict[str, Callable[[], Any]] = {"remote": remote}
RUNNERS |= {"local": local} if python_for_nobody() is None else {"local_as_nobody": local_as_nobody}


@pytest.fixture(scope="module", params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> Iterator[CodeRunner]:
    with RUNNERS[request.param]() as found:
        yield found


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What an escape would reach: a secret, sockets that are listened to, this process."""
    folder = tmp_path_factory.mktemp("around")
    secret = folder / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    os.environ["STAR_PROBE_PASSWORD"] = "secret"
    listening = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
    abstract = f"\0star-{os.getpid()}"
    listening.append(socket.socket(socket.AF_UNIX))
    listening[1].bind(str(folder / "s"))
    listening[2].bind(abstract)
    for one in listening[1:]:
        one.listen()
    yield {
        "secret": str(secret),
        "folder_of_secret": str(folder),
        "outside": str(folder / "written"),
        "project": str(PROJECT / "app" / "settings.py"),
        "folder": str(PROJECT),
        "port": listening[0].getsockname()[1],
        "socket": str(folder / "s"),
        "abstract": abstract,
        "launcher": os.getpid(),
        "shm_key": 0x5354,
    }
    del os.environ["STAR_PROBE_PASSWORD"]
    for one in listening:
        one.close()


@pytest.fixture(scope="module")
def escapes(runner: CodeRunner, surroundings: dict[str, Any]) -> dict[str, Execution]:
    programs = [Program(code.format_map(surroundings), limits=LIMITS) for code in ESCAPES.values()]
    return dict(zip(ESCAPES, runner.run(programs), strict=True))


@pytest.fixture(scope="module")
def judged(runner: CodeRunner) -> dict[str, Execution]:
    """What became of bounded programs, forgeries and right programs, in one batch."""
    programs = {
        f"bounded/{name}": Program(code, limits=SHORT if status is Status.TIMEOUT else LIMITS)
        for name, (status, code) in BOUNDED.items()
    }
    tests = (f"assert answer() == {UNKNOWN!r}",)
    programs |= {
        f"forged/{name}": Program(code, tests=tests, limits=SHORT) for name, code in FORGERIES.items()
    }
    programs |= {
        f"right/{name}": Program(code, tests=own, limits=LIMITS) for name, (code, own) in RIGHT.items()
    }
    return dict(zip(programs, runner.run(list(programs.values())), strict=True))


def test_there_are_sixty_attacks_and_more() -> None:
    assert len(ESCAPES) + len(BOUNDED) + len(FORGERIES) >= 60


@pytest.mark.parametrize("name", ESCAPES)
def test_a_program_does_not_escape(
    name: str, escapes: dict[str, Execution], surroundings: dict[str, Any]
) -> None:
    said = "".join(run.stdout for run in escapes[name].runs)
    assert "ESCAPED" not in said
    assert escapes[name].runs, escapes[name]
    assert Path(surroundings["secret"]).read_text() == "secret"
    assert Path(surroundings["secret"]).stat().st_mode & 0o777 == 0o644
    assert not Path(surroundings["outside"]).exists()


@pytest.mark.parametrize("name", BOUNDED)
def test_a_program_that_takes_without_end_is_stopped(name: str, judged: dict[str, Execution]) -> None:
    assert judged[f"bounded/{name}"].status is BOUNDED[name][0]


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_does_not_pass(name: str, judged: dict[str, Execution]) -> None:
    found = judged[f"forged/{name}"]
    assert (found.status, found.passed) != (Status.OK, (True,))


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_program_passes(name: str, judged: dict[str, Execution]) -> None:
    found = judged[f"right/{name}"]
    assert (found.status, set(found.passed)) == (Status.OK, {True}), found.error


def test_nothing_that_a_program_started_is_left(judged: dict[str, Execution]) -> None:
    """Launchers are alone again: no process of a user's program outlives its execution."""
    for launcher in _children(os.getpid()):
        if "launcher.py" in _command(launcher):
            assert _children(launcher) == []


@pytest.mark.parametrize("name", ESCAPES)
def test_the_interpreter_for_calculations_lets_nothing_escape(
    name: str, monty: MontyRunner, surroundings: dict[str, Any]
) -> None:
    [found] = monty.run([Program(ESCAPES[name].format_map(surroundings), limits=LIMITS)])
    assert "ESCAPED" not in found.runs[0].stdout


@pytest.mark.parametrize("name", ["loop", "output", "memory_in_steps", "recursion"])
def test_the_interpreter_for_calculations_is_bounded(name: str, monty: MontyRunner) -> None:
    [found] = monty.run(
        [Program(BOUNDED[name][1].replace("bytearray(1 << 22)", "'x' * 10**6"), limits=LIMITS)]
    )
    assert found.status is BOUNDED[name][0]


@pytest.fixture(scope="module")
def monty() -> Iterator[MontyRunner]:
    with closing(MontyRunner(2)) as runner:
        yield runner


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(one) for task in tasks for one in (task / "children").read_text().split()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_nobody_is_a_user_without_rights() -> None:
    assert pwd.getpwnam(NOBODY).pw_uid != 0
