"""What the free memory of a device decides of a training, before its first step."""

from __future__ import annotations

from pathlib import Path

import torch

from star_engine.adapters.thought_memory import ModelShape, training_bytes
from star_engine.config.quiet_star import QuietStar
from star_engine.gpu.causal_lm import free_bytes, free_memory

MEMINFO = Path("/proc/meminfo")


def must_checkpoint(base_model: Path, settings: QuietStar, device: torch.device) -> bool:
    """Whether the windows of a step have room only if each pass over them is computed twice (Thinker).

    Raises ValueError, with what to lower, where they have none even so.
    """
    free = available_bytes(device)
    shape, size = ModelShape.of(base_model), 4 if device.type == "cpu" else 2
    if free is None or training_bytes(settings, shape, size) <= free:
        return False
    needed = training_bytes(settings, shape, size, checkpointed=True)
    if needed > free:
        raise ValueError(
            f"A step takes about {needed / 2**30:.1f} GiB for its windows and their thoughts, and the device "
            f"has {free / 2**30:.1f} GiB free: lower micro_batch, then window or thought_tokens."
        )
    return True


def available_bytes(device: torch.device) -> int | None:
    """Memory that a training may take on the device, a CPU's too; None where nothing says so."""
    if device.type == "cuda":
        free_memory()  # what PyTorch keeps of the training before, in the same process, counts as taken
        return free_bytes(device)
    try:
        lines = MEMINFO.read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return None if found is None else int(found.split()[1]) * 1024
