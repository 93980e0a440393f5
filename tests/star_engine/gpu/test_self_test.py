"""The self-test of a device, on the CPU, with the errors that a broken GPU gives."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
import torch

from star_engine.gpu.self_test import Unfit, check_devices

SMALL = 256


class AcceleratorError(RuntimeError):
    """As PyTorch names it."""


def test_a_device_that_multiplies_right_is_fit() -> None:
    check_devices("cpu", 1, SMALL)


def test_a_device_that_multiplies_wrong_is_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    product = torch.Tensor.__matmul__

    def off_by_a_bit(one: Any, other: Any) -> Any:
        found = product(one, other)
        if one.dtype is torch.bfloat16:
            found[:, 7] += 128
        return found

    monkeypatch.setattr(torch.Tensor, "__matmul__", off_by_a_bit)
    with pytest.raises(Unfit, match=r"cpu: 64 of 16384 numbers of a product are wrong"):
        check_devices("cpu", 1, SMALL)


def test_what_cuda_says_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise AcceleratorError("CUDA error: uncorrectable ECC error encountered")

    monkeypatch.setattr(torch.Tensor, "to", fail)
    with pytest.raises(Unfit, match=r"cpu: CUDA error: uncorrectable ECC error"):
        check_devices("cpu", 1, SMALL)


def test_memory_that_is_given_back_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    to, left = torch.Tensor.to, [2]
    pauses: list[float] = []

    def short_at_first(one: Any, *where: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("Tried to allocate 32 MiB")
        return to(one, *where)

    monkeypatch.setattr(torch.Tensor, "to", short_at_first)
    monkeypatch.setattr(time, "sleep", pauses.append)
    check_devices("cpu", 1, SMALL)
    assert pauses == [5, 5]
    left[0] = 3
    with pytest.raises(Unfit, match="another process holds it"):
        check_devices("cpu", 1, SMALL)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is said where there is no GPU")
def test_the_command_says_in_one_line_that_cuda_is_not_usable() -> None:
    command = [sys.executable, "-m", "star_engine.gpu.self_test", "cuda", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "580 or newer" in done.stdout
    assert done.stdout.count("\n") == 1
