"""A sandbox that lets anything through is not used: fail closed, and say why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import httpx2
import pytest
from sqlalchemy.orm import Session

from app.database import make_engine
from app.ledger.queue.capacity import list_workers, note_sandbox, saw_worker
from app.sandbox import RemoteRunner
from app.settings import Settings
from star_engine.tasks.programs.execution import (
    Execution,
    Program,
    Run,
    SandboxFailed,
    Status,
    execute,
    execution_from,
    program_from,
    using_runner,
)
from tests.worker.sandbox.test_attacks import local, serve
from worker.sandbox.local import LocalRunner
from worker.sandbox.probe import probe
from worker.sandbox.runner import probed_runner
from worker.valkey import free_port


class Careless:
    """Runs nothing and confines nothing: says of every program that it ended well, having printed `said`."""

    def __init__(self, said: str) -> None:
        self.said = said

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        for _ in programs:
            yield Execution(Status.OK, (Run(Status.OK, self.said, ""),), passed=(True,))


class Broken:
    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        raise SandboxFailed("no Landlock")


class Except:
    """A real sandbox whose answer to one attempt is that of a careless one."""

    def __init__(self, behind: LocalRunner, number: int) -> None:
        self.behind, self.number = behind, number

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        for place, found in enumerate(self.behind.run(programs)):
            careless = Execution(Status.OK, (Run(Status.OK, "ESCAPED", ""),), passed=(True,))
            yield careless if place == self.number else found


def test_a_sandbox_that_confines_programs_passes_the_probe() -> None:
    with local() as runner:
        assert probe(runner) is None


@pytest.mark.parametrize("number", [0, 4, 8, -1])
def test_one_attempt_that_succeeds_fails_the_probe(number: int) -> None:
    with closing(LocalRunner(2)) as behind:
        problem = probe(Except(behind, number if number >= 0 else 10))
        assert problem is not None
        assert "could" in problem or "right one" in problem


def test_a_runner_that_confines_nothing_fails_the_probe() -> None:
    assert probe(Careless("")) is not None
    assert probe(Careless("ESCAPED")) is not None
    assert "no Landlock" in str(probe(Broken()))


def test_a_worker_whose_probe_fails_has_no_runner_and_says_why() -> None:
    gone = Settings(sandbox_url=f"http://127.0.0.1:{free_port()}")
    runner, problem = probed_runner(gone)
    assert runner is None
    assert "does not answer" in str(problem)
    assert probed_runner(Settings(sandbox="off")) == (None, "It is switched off: STAR_SANDBOX=off.")


def test_without_a_runner_nothing_is_executed() -> None:
    with using_runner(None), pytest.raises(SandboxFailed, match="no sandbox"):
        execute([Program("x = 1")])


def test_a_service_whose_probe_fails_runs_nothing() -> None:
    with serve(Careless("ESCAPED")) as url, closing(RemoteRunner(url)) as runner:
        assert httpx2.get(f"{url}/healthz").status_code == 503
        with pytest.raises(SandboxFailed, match="503"):
            list(runner.run([Program("print(1)")]))


def test_a_launcher_that_cannot_start_a_sandbox_is_no_verdict() -> None:
    with closing(LocalRunner(1, command=["/bin/false"])) as runner, pytest.raises(SandboxFailed):
        list(runner.run([Program("print(1)")]))


def test_a_launcher_that_dies_is_replaced() -> None:
    with closing(LocalRunner(1)) as runner:
        [first] = runner.run([Program("print(1)")])
        launcher = runner._free.get()
        assert launcher is not None
        launcher._process.kill()
        launcher._process.wait()
        runner._free.put(launcher)
        [second] = runner.run([Program("print(1)")])
    assert (first.runs, first.status) == (second.runs, second.status)


def test_programs_and_executions_survive_the_wire() -> None:
    program = Program(
        "def f(x):\n    return x", tests=("assert f(1) == 1",), names=("f",), call=("f", (1, "a"))
    )
    assert program_from(program.as_json()) == program
    assert program_from(program.as_json()).sha256 == program.sha256
    found = Execution(Status.ERROR, (Run(Status.OK, "a", "b"),), (True, False), [1], "00", "no", cpu_ms=3)
    assert execution_from(found.as_json()) == found


def test_what_a_probe_said_is_on_the_workers_row(database_url: str) -> None:
    with Session(make_engine(database_url)) as session:
        saw_worker(session, "host:1")
        note_sandbox(session, "host:1", "No Landlock.")
        [(worker, _)] = list_workers(session, after=None, limit=1)
        assert worker.sandbox == "No Landlock."
        note_sandbox(session, "host:1", None)
        saw_worker(session, "host:1")
        session.refresh(worker)
        assert worker.sandbox == "ok"
