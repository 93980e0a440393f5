"""What a worker tells of its GPUs, with an NVML that says what it is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.factories import make_world
from worker.gpu.measured import Measured
from worker.gpu.sampled import Sampled

GIB = 2**30


class NVMLError(Exception):
    pass


class Nvml:
    """Two H100."""

    NVMLError, NVML_TEMPERATURE_GPU = NVMLError, 0

    def __init__(self, *, lost: bool = False) -> None:
        self.lost = lost

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if self.lost:
            raise NVMLError("GPU is lost")
        return index

    def nvmlDeviceGetMemoryInfo(self, index: int) -> Any:  # noqa: N802
        return SimpleNamespace(total=80 * GIB, used=(10 + index) * GIB)

    def nvmlDeviceGetUtilizationRates(self, index: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=90 + index)

    def nvmlDeviceGetTemperature(self, index: int, _: int) -> int:  # noqa: N802
        return 60 + index


@pytest.mark.parametrize(
    ("device", "gpus", "lost", "told"),
    [
        ("cuda", 2, False, [0.9, 0.91]),
        ("cuda", 1, False, [0.9]),
        ("cuda", 2, True, []),
        ("cpu", 2, False, []),
    ],
)
def test_a_worker_tells_of_the_gpus_that_are_its(
    device: str, gpus: int, lost: bool, told: list[float], sqlite_database_url: str, tmp_path: Path
) -> None:
    worker = make_world(sqlite_database_url, tmp_path / "home", device=device, gpus=gpus).worker_context()
    found = Measured(Nvml(lost=lost))(worker)
    assert [gpu["utilization"] for gpu in found["gpus"]] == told
    if told:
        expected = {"utilization": 0.9, "memory_gib": 80, "memory_used_gib": 10, "temperature_c": 60}
        assert found["gpus"][0] == expected


def test_tokens_are_told_as_a_rate_since_the_last_note(sqlite_database_url: str, tmp_path: Path) -> None:
    worker = make_world(sqlite_database_url, tmp_path / "home").worker_context()
    measured = Measured(Nvml())
    assert measured(worker)["tokens_per_second"] == 0
    worker._sampled = Sampled(10**9, looked_up=1000, cached=600)
    told = measured(worker)
    assert told["tokens_per_second"] > 0
    assert told["prefix_cache_hits"] == 0.6
    told = measured(worker)
    assert (told["tokens_per_second"], told["prefix_cache_hits"]) == (0, None)
