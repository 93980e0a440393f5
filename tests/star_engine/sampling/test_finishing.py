"""Completions that are judged by programs: several at once, one at a time in the plan's own code."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from threading import Barrier, Lock

import pytest

from star_engine.protocols import Completion, SampleRequest, SamplingParams
from star_engine.sampling.finishing import finished
from star_engine.tasks.programs.execution import (
    Execution,
    Program,
    SandboxFailed,
    Status,
    current_runner,
    execute,
    has_runner,
    use_runner,
    using_runner,
)
from star_engine.testing.fakes import ScriptedSampler

PARAMS = SamplingParams()
DEADLINE = 20.0


class Meets:
    """A sandbox whose programs end only when two of them run at once."""

    def __init__(self) -> None:
        self.barrier = Barrier(2)

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        self.barrier.wait(DEADLINE)
        yield from (Execution(Status.OK) for _ in programs)


class Broken:
    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        raise SandboxFailed("gone")


def requests(count: int) -> deque[SampleRequest]:
    return deque(SampleRequest(f"r{number}", "say") for number in range(count))


def sampler() -> ScriptedSampler:
    return ScriptedSampler(lambda request, _: f" {request.key}")


def test_programs_of_several_completions_run_at_once() -> None:
    def judge(completion: Completion) -> Status:
        return execute([Program(completion.text)])[0].status

    with using_runner(Meets()):
        found = [result() for _, result in finished(sampler(), requests(8), PARAMS, judge, side_by_side=True)]
    assert found == [Status.OK] * 8


def test_the_code_of_a_plan_runs_in_one_thread_at_a_time() -> None:
    inside = Lock()

    def judge(completion: Completion) -> str:
        assert inside.acquire(blocking=False)
        inside.release()
        execute([Program(completion.text)])
        assert inside.acquire(blocking=False)
        inside.release()
        return completion.key

    with using_runner(Meets()):
        found = finished(sampler(), requests(8), PARAMS, judge, side_by_side=True)
        for _, result in found:
            with inside:  # the caller's code counts as well
                result()


def test_requests_that_a_judgement_brings_are_sampled_after_the_last_completion() -> None:
    queue = requests(2)

    def judge(completion: Completion) -> str:
        execute([Program(completion.text)])
        if completion.key.startswith("r"):
            queue.append(SampleRequest(completion.key.replace("r", "again"), "say"))
        return completion.key

    with using_runner(Meets()):
        found = {result() for _, result in finished(sampler(), queue, PARAMS, judge, side_by_side=True)}
    assert found == {"r0", "r1", "again0", "again1"}


def test_what_a_judgement_raises_is_raised_where_its_result_is_asked_for() -> None:
    def judge(completion: Completion) -> str:
        execute([Program(completion.text)])
        return completion.key

    with using_runner(Broken()):
        _, result = next(finished(sampler(), requests(1), PARAMS, judge, side_by_side=True))
        with pytest.raises(SandboxFailed, match="gone"):
            result()


def test_the_call_ends_where_only_programs_run_and_the_work_must_stop() -> None:
    def stop() -> None:
        raise TimeoutError("cancelled")

    def judge(completion: Completion) -> str:
        execute([Program(completion.text)])
        return completion.key

    with using_runner(Meets()), pytest.raises(TimeoutError, match="cancelled"):
        list(finished(sampler(), requests(1), PARAMS, judge, side_by_side=True, idle=stop))


def test_a_sandbox_that_is_installed_while_another_runner_is_lent_stays_installed() -> None:
    """A worker's probe may end while its first step, with a runner of its own, is under way."""
    installed, lent = _Nothing(), _Nothing()
    use_runner(None)
    try:
        with using_runner(lent):
            use_runner(installed)
            assert current_runner() is lent
        assert current_runner() is installed
        with using_runner(None):
            assert not has_runner()
        assert current_runner() is installed
    finally:
        use_runner(None)


class _Nothing:
    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        yield from ()
