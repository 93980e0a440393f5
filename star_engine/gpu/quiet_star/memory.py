"""Refuses a training that the device has no room for, before its first step."""

from __future__ import annotations

from pathlib import Path

import torch

from star_engine.adapters.thought_memory import ModelShape, training_bytes
from star_engine.config.quiet_star import QuietStar

MEMINFO = Path("/proc/meminfo")


def refuse_too_large(base_model: Path, settings: QuietStar, device: torch.device) -> None:
    """Raise ValueError, with what to lower, where the windows of a step take more memory than is free."""
    free = free_bytes(device)
    needed = training_bytes(settings, ModelShape.of(base_model), 4 if device.type == "cpu" else 2)
    if free is not None and needed > free:
        raise ValueError(
            f"A step takes about {needed / 2**30:.1f} GiB for its windows and their thoughts, and the device "
            f"has {free / 2**30:.1f} GiB free: lower quiet_star.micro_batch, then window or thought_tokens."
        )


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on the device; None where nothing says so."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = MEMINFO.read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return None if found is None else int(found.split()[1]) * 1024
