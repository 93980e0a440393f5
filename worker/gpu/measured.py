"""What a worker tells of its GPUs with its note of presence: how busy and full they are, what it sampled."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from typing import Any

from worker.context import WorkerContext
from worker.gpu.sampled import Sampled

GIB = 2**30


class Measured:
    """Reads a worker's GPUs, and what it has sampled since the last time it was asked."""

    def __init__(self, nvml: Any = None) -> None:
        """`nvml`: the module pynvml, which workers with vLLM have; None: if it is there and has a driver."""
        self._nvml = nvml or _load()
        self._sampled, self._at = Sampled(), time.monotonic()

    def __call__(self, worker: WorkerContext) -> dict[str, Any]:
        """{gpus: [{utilization, memory_gib, memory_used_gib, temperature_c}], tokens_per_second,
        prefix_cache_hits}.

        Utilization is the share of the last moment in which a kernel ran, as NVML has it; tokens are those of
        prompts and completions together; hits are the share of prompt tokens that vLLM's prefix cache had,
        None where nothing was sampled or the sampler does not say.
        """
        now, total = time.monotonic(), worker.sampled
        new, seconds = total - self._sampled, max(1e-3, now - self._at)
        self._sampled, self._at = total, now
        gpus = self._gpus() if worker.settings.device == "cuda" else []
        return {
            "gpus": gpus[: worker.settings.gpus],
            "tokens_per_second": round(max(0.0, new.tokens / seconds), 1),
            "prefix_cache_hits": None if new.cache_hits is None else round(new.cache_hits, 4),
        }

    def _gpus(self) -> Sequence[dict[str, Any]]:
        nvml = self._nvml
        if nvml is None:
            return []
        try:
            return [_one(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError:  # a GPU has fallen off the bus: the self-test says so, this note does not
            return []


def _load() -> Any:
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def _one(nvml: Any, index: int) -> dict[str, Any]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "utilization": nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
        "memory_gib": round(memory.total / GIB, 1),
        "memory_used_gib": round(memory.used / GIB, 1),
        "temperature_c": nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
    }
