"""What GPUs a worker has, where it was not told: memory and class of each, from the driver.

They are read by a process of their own, `python -m worker.gpu.seen`: whoever initializes CUDA must not fork
any more, and a worker forks.
"""

from __future__ import annotations

import ctypes
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from app.ledger.queue.capacity import Capacity, capacity_of
from app.settings import Settings

log = structlog.get_logger()

LOOK_SECONDS = 60.0  # a driver that is loaded for the first time takes some
NAME_BYTES = 256
# Words of a card's name that are not what is asked for by: makers and series, memory, forms of the same card.
_NOISE = re.compile(r"nvidia|geforce|tesla|quadro|generation|gpu|pcie|nvl|\d+gb|sxm\d*|hbm\d*\w?")


@dataclass(frozen=True, slots=True)
class SeenGpu:
    """One GPU as the driver has it."""

    name: str  # such as NVIDIA H100 80GB HBM3
    bytes: int  # of its memory


class _Last:
    """The last look at the driver, also of a process that forks from this one. None: nobody has looked."""

    gpus: tuple[SeenGpu, ...] | None = None


def own_capacity(settings: Settings, *, again: bool = False) -> Capacity:
    """What this worker declares: what the operator set, and of what was left out what its GPUs are.

    again: look once more where the last look has found none. It takes as long as the driver does.
    """
    stated = capacity_of(settings)
    if settings.device == "cpu" or (stated.gpu_memory_gib is not None and stated.gpu_class is not None):
        return stated
    if _Last.gpus is None or (again and not _Last.gpus):
        _Last.gpus = _look()
    return with_seen(stated, _Last.gpus)


def with_seen(stated: Capacity, gpus: tuple[SeenGpu, ...]) -> Capacity:
    """Fill in what was not stated. Of several GPUs it is the least memory, and a class that all have."""
    own = gpus[: stated.gpus]
    if len(own) < stated.gpus:  # fewer than it states: the self-test says so
        return stated
    classes = {class_of(gpu.name) for gpu in own}
    seen = classes.pop() if len(classes) == 1 else None
    memory = math.ceil(min(gpu.bytes for gpu in own) / 2**30)  # as sold: a card of 80 GB says 79.6 GiB
    return replace(
        stated,
        gpu_memory_gib=stated.gpu_memory_gib or float(memory),
        gpu_class=stated.gpu_class or seen,
    )


def class_of(name: str) -> str | None:
    """Return the class that a card's name tells, such as h100 of NVIDIA H100 80GB HBM3; None: none."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    kept = [word for word in words if word and not _NOISE.fullmatch(word)]
    return "-".join(kept)[:40] or None


def _look() -> tuple[SeenGpu, ...]:
    """The GPUs that are visible here; none where that cannot be told, which the log says."""
    command = [sys.executable, "-m", "worker.gpu.seen"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_SECONDS, check=True)
        found = tuple(SeenGpu(**one) for one in json.loads(done.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError) as problem:
        log.warning("gpus_not_seen", error=type(problem).__name__)
        return ()
    log.info("gpus_seen", gpus=[gpu.name for gpu in found])
    return found


def visible_gpus(load: Callable[[str], Any] = ctypes.CDLL) -> list[SeenGpu]:
    """The GPUs of CUDA_VISIBLE_DEVICES, in its order, by CUDA's driver. None where there is no driver."""
    try:
        library = load("libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int(0)
    if library.cuInit(0) != 0 or library.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    return [_gpu(library, index) for index in range(count.value)]


def _gpu(library: Any, index: int) -> SeenGpu:
    device, size = ctypes.c_int(0), ctypes.c_size_t(0)
    name = ctypes.create_string_buffer(NAME_BYTES)
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(name, NAME_BYTES, device)
    library.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    return SeenGpu(name.value.decode(errors="replace"), size.value)


if __name__ == "__main__":
    sys.stdout.write(json.dumps([{"name": gpu.name, "bytes": gpu.bytes} for gpu in visible_gpus()]))
