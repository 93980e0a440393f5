"""What a worker fills in of its own GPUs, with a driver that says what it is told."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from app.ledger.queue.capacity import Capacity
from app.settings import Settings
from star_engine.gpu.self_test import Unfit, check_memory
from tests.databases import PROJECT
from worker.gpu import seen
from worker.gpu.fitness import run_self_test
from worker.gpu.seen import SeenGpu, class_of, own_capacity, visible_gpus, with_seen

GIB = 2**30
H100 = SeenGpu("NVIDIA H100 80GB HBM3", 85_520_809_984)  # 79.6 GiB
H200 = SeenGpu("NVIDIA H200", 150_754_820_096)


class Driver:
    """libcuda.so.1 with these cards."""

    def __init__(self, *cards: SeenGpu, status: int = 0) -> None:
        self.cards, self.status = cards, status

    def cuInit(self, _: int) -> int:  # noqa: N802
        return self.status

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.cards)
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: ctypes.c_int) -> int:  # noqa: N802
        name.value = self.cards[device.value].name.encode()[: size - 1]
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: ctypes.c_int) -> int:  # noqa: N802
        size._obj.value = self.cards[device.value].bytes
        return 0


def test_the_driver_is_asked_for_each_visible_gpu() -> None:
    assert visible_gpus(lambda _: Driver(H100, H200)) == [H100, H200]
    assert visible_gpus(lambda _: Driver(H100, status=100)) == []  # CUDA_ERROR_NO_DEVICE

    def absent(_: str) -> Any:
        raise OSError("libcuda.so.1: cannot open shared object file")

    assert visible_gpus(absent) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100"),
        ("NVIDIA H100 NVL", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("NVIDIA B200", "b200"),
        ("", None),
    ],
)
def test_a_class_is_what_people_call_the_card(name: str, told: str | None) -> None:
    assert class_of(name) == told


@pytest.mark.parametrize(
    ("stated", "cards", "declared"),
    [
        (Capacity(), (H100,), Capacity(1, 80, "h100")),
        (Capacity(), (H200, H100), Capacity(1, 141, "h200")),
        (Capacity(2), (H100, H100), Capacity(2, 80, "h100")),
        (Capacity(2), (H200, H100), Capacity(2, 80, None)),  # of two kinds: the least, and no class
        (Capacity(2), (H100,), Capacity(2)),  # the self-test says that one is missing
        (Capacity(1, 40.0, None), (H100,), Capacity(1, 40, "h100")),
        (Capacity(1, None, "reserved"), (H100,), Capacity(1, 80, "reserved")),
        (Capacity(), (), Capacity()),
    ],
)
def test_what_an_operator_states_counts_and_the_rest_is_filled_in(
    stated: Capacity, cards: tuple[SeenGpu, ...], declared: Capacity
) -> None:
    assert with_seen(stated, cards) == declared


def test_only_a_worker_on_cuda_that_states_not_all_looks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks: list[int] = []

    def look() -> tuple[SeenGpu, ...]:
        looks.append(1)
        return (H100,)

    monkeypatch.setattr(seen, "_look", look)
    monkeypatch.setattr(seen._Last, "gpus", None)
    given: dict[str, Any] = {"home": tmp_path}
    assert own_capacity(Settings(**given)) == Capacity()
    assert own_capacity(Settings(**given, device="cuda", gpu_memory_gib=80, gpu_class="a")) == Capacity(
        1, 80, "a"
    )
    assert looks == []
    assert own_capacity(Settings(**given, device="cuda")).queue == "celery.1x80.h100"
    assert own_capacity(Settings(**given, device="cuda"), again=True).gpu_class == "h100"
    assert looks == [1]


def test_a_look_that_has_found_nothing_is_not_the_last_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another look takes as long as the driver does: who claims a step does not wait for it."""
    looks: list[tuple[SeenGpu, ...]] = [(H100,), ()]
    monkeypatch.setattr(seen, "_look", looks.pop)
    monkeypatch.setattr(seen._Last, "gpus", None)
    settings = Settings(home=tmp_path, device="cuda")
    assert own_capacity(settings) == own_capacity(settings) == Capacity()
    assert own_capacity(settings, again=True) == Capacity(1, 80, "h100")
    assert own_capacity(settings) == own_capacity(settings, again=True) == Capacity(1, 80, "h100")


def test_where_no_driver_is_nothing_is_filled_in_and_the_look_leaves_no_cuda_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker.gpu.seen"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]"
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert seen._look() == ()


def test_a_worker_listens_to_the_queue_of_what_it_declares() -> None:
    """Told by the worker's own start, and by nobody who only imports the app."""
    script = (
        "from worker import celery\n"
        "from worker.gpu import seen\n"
        "before = set(celery.celery_app.amqp.queues)\n"
        "seen._look = lambda: (seen.SeenGpu('NVIDIA H100 80GB HBM3', 85_520_809_984),)\n"
        "from celery.signals import celeryd_init\n"
        "celeryd_init.send(sender='worker')\n"
        "print(sorted(before), sorted(set(celery.celery_app.amqp.queues) - before))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env=os.environ | {"STAR_DEVICE": "cuda"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "['celery'] ['celery.1x80.h100']"


def test_a_claim_of_more_memory_than_there_is_is_refused_by_the_self_test(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    properties = SimpleNamespace(total_memory=H100.bytes)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    check_memory(2, 80)
    with pytest.raises(Unfit, match=r"STAR_GPU_MEMORY_GIB is 141, and cuda:0 has 80: leave it out"):
        check_memory(2, 141)
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        asked.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    for memory in (None, 141):
        assert run_self_test(Settings(home=tmp_path, device="cuda", gpu_memory_gib=memory)) is None
    assert [command[3:] for command in asked] == [["cuda", "1"], ["cuda", "1", "141.0"]]
