"""Whether GPUs compute right: `python -m star_engine.gpu.self_test cuda 2` exits 0 or says why not.

A third argument is the memory in GiB that each of them is said to have.
"""

from __future__ import annotations

import math
import sys
import time

import torch

from star_engine.gpu.vllm_settings import runs_on_cpu

SIZE = 4096  # two factors of 32 MiB in bfloat16
ROWS = 64  # of the product that are compared with the CPU's
TRIES = 3  # of a device without memory: that of a process that was killed is given back within seconds
PAUSE_SECONDS = 5.0


class Unfit(RuntimeError):
    """A device that must not be given work; the text is a sentence for operators."""


def check_devices(device: str, count: int, size: int = SIZE) -> None:
    """Multiply two matrices of (size, size) small whole numbers in bfloat16 on each device, and compare.

    Sums of whole numbers are exact in float32, in whatever order, so the product must be equal bit by bit.
    Raises Unfit.
    """
    if device != "cpu":
        _require_cuda(count)
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False  # would round partial sums
    for index in range(count):
        name = device if device == "cpu" else f"{device}:{index}"
        try:
            _multiply(name, size)
        except Unfit:
            raise
        except RuntimeError as error:  # torch.AcceleratorError is one
            raise Unfit(f"{name}: {error}") from error


def check_memory(count: int, gib: float) -> None:
    """Raise Unfit where one of the CUDA devices has less memory than that, a part of a GiB aside."""
    for index in range(count):
        found = math.ceil(torch.cuda.get_device_properties(index).total_memory / 2**30)
        if found < gib:
            raise Unfit(
                f"STAR_GPU_MEMORY_GIB is {gib:g}, and cuda:{index} has {found}: leave it out, or lower it."
            )


def _require_cuda(count: int) -> None:
    try:
        runs_on_cpu("cuda")
    except RuntimeError as error:
        raise Unfit(str(error)) from error
    found = torch.cuda.device_count()
    if found < count:
        raise Unfit(f"STAR_GPUS is {count}, but {found} are here.")


def _multiply(device: str, size: int) -> None:
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.randint(-2, 3, (size, size), generator=generator).bfloat16() for _ in range(2))
    rows = torch.randperm(size, generator=generator)[:ROWS]
    wanted = (one[rows].float() @ other.float()).bfloat16()
    for left in reversed(range(TRIES)):
        try:
            found = (one.to(device) @ other.to(device))[rows.to(device)].cpu()
            break
        except torch.OutOfMemoryError as error:
            if not left:
                raise Unfit(f"{device}: no memory is free for 96 MiB; another process holds it.") from error
            time.sleep(PAUSE_SECONDS)
    wrong = int((found != wanted).sum())
    if wrong:
        raise Unfit(f"{device}: {wrong} of {wanted.numel()} numbers of a product are wrong.")


def main(device: str, count: str, gib: str | None = None) -> str | int:
    """Return the exit status, or what is wrong."""
    try:
        check_devices(device, int(count))
        if device != "cpu" and gib is not None:
            check_memory(int(count), float(gib))
    except Unfit as unfit:
        sys.stdout.write(f"{unfit}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
