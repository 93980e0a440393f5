from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.worker.gpus import SPEC, Start
from worker.gpu.process import GpuProcess


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as started:

        def start_one() -> GpuProcess:
            process = GpuProcess(SPEC, tmp_path / "gpu.log")
            started.callback(process.kill)
            return process

        yield start_one


@pytest.fixture
def gpu(start: Start) -> GpuProcess:
    return start()
