"""How a GPU process ends, and who notices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from star_engine.protocols import OutOfMemory, SampleRequest
from tests.worker.gpus import LONG, SPEC, Start, gone, requests, sample, wait_until
from worker.gpu.process import GpuDied, GpuFailed, GpuProcess


def test_a_bug_in_the_child_ends_it_and_shows_its_traceback(gpu: GpuProcess) -> None:
    with pytest.raises(GpuFailed, match="a bug with nonsense") as failure:
        sample(gpu, "nonsense")
    assert "Traceback" in failure.value.log_tail
    assert not gpu.alive


def test_running_out_of_memory_ends_the_child(gpu: GpuProcess) -> None:
    with pytest.raises(OutOfMemory, match="64 sequences do not fit"):
        sample(gpu, "overflow")
    assert not gpu.alive


def test_a_child_that_could_not_even_say_that_memory_ran_out_is_understood(gpu: GpuProcess) -> None:
    with pytest.raises(OutOfMemory):
        sample(gpu, "exit-75")


def test_a_killed_child_is_noticed_and_its_last_words_are_kept(gpu: GpuProcess) -> None:
    with pytest.raises(GpuDied, match="SIGKILL") as death:
        sample(gpu, "echo fine", "die")
    assert death.value.exit_code == -signal.SIGKILL
    assert death.value.log_tail.endswith("about to die")
    assert not gpu.matches(SPEC)
    with pytest.raises(GpuDied):
        gpu.count_tokens(["later"])


def test_completions_before_a_failure_are_not_lost(gpu: GpuProcess) -> None:
    completions = gpu.stream(requests(*["echo fine"] * 20, "nonsense"), LONG)
    assert [next(completions).text for _ in range(20)] == ["fine"] * 20
    with pytest.raises(GpuFailed):
        next(completions)


def test_check_can_abort_a_call_that_hangs(gpu: GpuProcess) -> None:
    class Cancelled(Exception):
        pass

    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise Cancelled

    gpu.check = check
    with pytest.raises(Cancelled):
        sample(gpu, "hang")
    gpu.kill()
    assert gone(gpu.pid)


def test_a_stall_is_measured_from_the_call_and_never_while_idle(gpu: GpuProcess) -> None:
    class Enough(Exception):
        pass

    seen: list[float] = []

    def look() -> None:
        seen.append(gpu.last_progress)
        if len(seen) == 3:
            raise Enough

    sample(gpu, "echo")
    gpu.check = look
    before = time.monotonic()
    with pytest.raises(Enough):
        sample(gpu, "hang")
    assert before <= seen[0] == seen[1] == seen[2]
    assert gpu.last_progress > seen[2]


def test_check_runs_as_well_while_completions_keep_coming(gpu: GpuProcess) -> None:
    queue = requests("echo")
    seen: list[int] = []
    gpu.check = lambda: seen.append(1)
    for completion in gpu.stream(queue, LONG):
        if len(seen) < 2:
            queue.append(SampleRequest(completion.key + "+", "echo"))
    assert len(seen) >= 2  # it would never have ended without


def test_killing_takes_along_what_the_child_started(gpu: GpuProcess) -> None:
    grandchild = int(sample(gpu, "spawn")[0])
    assert not gone(grandchild)
    gpu.kill()
    assert gone(gpu.pid)
    assert gone(grandchild)


def test_the_rest_of_the_group_goes_when_only_the_child_is_killed(gpu: GpuProcess) -> None:
    grandchild = int(sample(gpu, "spawn")[0])
    os.kill(gpu.pid, signal.SIGKILL)
    with pytest.raises(GpuDied):
        gpu.count_tokens(["a"])
    assert gone(grandchild)


PARENT = """
import sys
from pathlib import Path
from tests.worker.gpus import SPEC, sample
from worker.gpu.process import GpuProcess
gpu = GpuProcess(SPEC, Path(sys.argv[1]))
grandchild, = sample(gpu, "spawn")
print(gpu.pid, grandchild, flush=True)
list(sample(gpu, "hang"))
"""


def test_kill_9_of_the_worker_takes_child_and_grandchild_along(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "gpu.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child, grandchild = (int(pid) for pid in parent.stdout.readline().split())
        assert not gone(child)
        assert not gone(grandchild)
        parent.kill()
    wait_until(lambda: gone(child) and gone(grandchild), "it outlived the worker")


def test_a_closed_process_has_ended_in_order(gpu: GpuProcess) -> None:
    sample(gpu, "echo")
    gpu.close()
    assert gone(gpu.pid)
    with pytest.raises(GpuDied, match="exit status 0"):
        gpu.count_tokens(["later"])


def test_the_log_of_the_process_before_is_kept(start: Start, tmp_path: Path) -> None:
    first = start()
    with pytest.raises(GpuDied):
        sample(first, "die")
    second = start()
    assert sample(second, "echo fine") == ["fine"]
    assert "about to die" in (tmp_path / "gpu.log.1").read_text()
    assert "about to die" not in second.log_tail()


def test_the_child_refuses_to_run_where_it_would_kill_its_callers_group() -> None:
    child = subprocess.run([sys.executable, "-m", "worker.gpu.child", "1"], stdin=subprocess.DEVNULL)
    assert child.returncode == 1
