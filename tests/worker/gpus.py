"""A GPU process with a fake GPU, and what to ask of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import psutil

from star_engine.protocols import Sampler, SampleRequest, SamplingParams
from worker.gpu.process import GpuProcess, GpuSpec

OPTIONS = {"script": "tests.worker.gpu_scripts:obey"}
SPEC = GpuSpec(base_model=Path("no-model"), sampler="scripted", options=OPTIONS)
LONG = SamplingParams(max_tokens=10**6)
Start = Callable[[], GpuProcess]


def requests(*prompts: str) -> deque[SampleRequest]:
    return deque(SampleRequest(f"{n}", prompt) for n, prompt in enumerate(prompts))


def sample(sampler: Sampler, *prompts: str) -> list[str]:
    """Texts in the order of the prompts."""
    completions = list(sampler.stream(requests(*prompts), LONG))
    return [one.text for one in sorted(completions, key=lambda one: int(one.key))]


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Ended, whether or not its new parent has collected it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
