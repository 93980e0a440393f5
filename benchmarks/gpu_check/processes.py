"""Checks of processes: the worker's GPU process, neighbours that die, and training over ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.gpu_check.workbench import Skipped, Workbench, settings
from star_engine.gpu.self_test import check_devices
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.training.parallel_trainer import ParallelTrainer
from star_engine.protocols import SampleRequest, SamplingParams, Trainer, TrainingJob

if TYPE_CHECKING:
    from worker.gpu.process import GpuSpec

NEIGHBOUR = """
import sys, time, torch
block = torch.empty(int(sys.argv[1]), dtype=torch.uint8, device="cuda")
print("holds", flush=True)
time.sleep(600)
"""
WORKER = """
import json, sys, time
from collections import deque
from pathlib import Path
from star_engine.protocols import SampleRequest, SamplingParams
from worker.gpu.process import GpuProcess, GpuSpec
gpu = GpuProcess(GpuSpec.from_json(json.loads(sys.argv[1])), Path(sys.argv[2]))
list(gpu.stream(deque([SampleRequest("a", "12+13")]), SamplingParams(max_tokens=4)))
print(gpu.pid, flush=True)
time.sleep(600)
"""


def self_test(bench: Workbench) -> None:
    """What every worker does before its first claim."""
    began = time.perf_counter()
    check_devices(bench.device, 1, bench.size(4096, 256))
    bench.facts["seconds"] = round(time.perf_counter() - began, 2)


def gpu_process(bench: Workbench) -> None:
    """Cancel, close, and the death of the worker: no process and no memory is left."""
    try:
        from worker.gpu.process import GpuProcess, GpuSpec
    except ImportError as missing:
        raise Skipped(f"{missing.name} is not installed") from missing
    spec, log = GpuSpec(base_model=bench.saved("0.5B"), device=bench.device), bench.folder / "gpu.log"
    free = free_gib(bench)
    with closing(GpuProcess(spec, log)) as gpu:
        prompts = deque(SampleRequest(str(n), "12+13") for n in range(8))
        texts = gpu.stream(prompts, SamplingParams(max_tokens=400))
        next(texts)
        texts.close()  # type: ignore[attr-defined]
        began = time.perf_counter()
        list(gpu.stream(deque([SampleRequest("b", "12+13")]), SamplingParams(max_tokens=4)))
        bench.facts["first text after a cancel_s"] = round(time.perf_counter() - began, 2)
    worker, child = start_worker(spec, log)
    worker.kill()
    worker.wait()
    began = time.perf_counter()
    while alive(child) and time.perf_counter() - began < 20:
        time.sleep(0.05)
    bench.facts["child gone after_s"] = round(time.perf_counter() - began, 2)
    bench.require(not alive(child), "the GPU process dies with its worker")
    if free is not None:
        while (free_gib(bench) or 0) < free - 0.5 and time.perf_counter() - began < 10:
            time.sleep(0.1)
        bench.facts["memory free after_s"] = round(time.perf_counter() - began, 2)
        bench.require((free_gib(bench) or 0) >= free - 0.5, "its memory is free within 10 s")


def start_worker(spec: GpuSpec, log: Path) -> tuple[subprocess.Popen[str], int]:
    """A worker that does nothing more, and the id of its GPU process, which has written a text."""
    command = [sys.executable, "-c", WORKER, json.dumps(spec.to_json()), str(log)]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    return worker, int(worker.stdout.readline())


def neighbour(bench: Workbench) -> None:
    """A process that holds 45 % of the GPU is killed; its memory is wanted at once."""
    bench.needs_cuda()
    _, total = torch.cuda.mem_get_info()
    held = int(0.45 * total)
    other = subprocess.Popen([sys.executable, "-c", NEIGHBOUR, str(held)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    other.stdout.readline()
    os.kill(other.pid, signal.SIGKILL)
    began = time.perf_counter()
    block = None
    while block is None and time.perf_counter() - began < 10:
        try:
            block = torch.empty(int(0.8 * total), dtype=torch.uint8, device=bench.device)
        except torch.OutOfMemoryError:
            time.sleep(0.05)
    other.wait()
    bench.facts["free after_s"] = round(time.perf_counter() - began, 2)
    bench.require(block is not None and bench.facts["free after_s"] < 5, "free within 5 s")


def one_rank(bench: Workbench) -> None:
    """A training over processes, with one of them: NCCL, accelerate, the pipes."""
    base = bench.saved("0.5B")
    alone = _losses(bench, LoraTrainer(base, device=bench.device), "alone")
    bench.free()
    together = _losses(bench, ParallelTrainer(base, ranks=1, device=bench.device), "rank")
    bench.facts |= {"alone": alone, "one rank": together}
    apart = max(abs(a - b) / a for a, b in zip(alone, together, strict=True))
    bench.require(apart <= 1e-3, "losses within 1e-3, relative")


def sharded(bench: Workbench) -> None:
    """A training over all GPUs, each of which holds a piece of every layer; on a CPU over two processes."""
    base = bench.saved("0.5B")
    ranks = torch.cuda.device_count() if bench.on_cuda else 2
    alone = _losses(bench, LoraTrainer(base, device=bench.device), "whole")
    bench.free()
    trainer = ParallelTrainer(base, ranks=ranks, device=bench.device, sharded=True)
    pieces = _losses(bench, trainer, "pieces")
    bench.facts |= {"ranks": ranks, "alone": alone, "sharded": pieces}
    apart = max(abs(a - b) / a for a, b in zip(alone, pieces, strict=True))
    bench.require(apart <= 1e-3, "losses within 1e-3, relative")


def _losses(bench: Workbench, trainer: Trainer, name: str) -> list[float]:
    out = bench.folder / name
    job = TrainingJob(tuple(bench.texts(8)), settings(3, 4), 3, 0, out / "adapter", out / "points")
    return [progress.loss for progress in trainer.train(job)]


def free_gib(bench: Workbench) -> float | None:
    """Of the GPU's memory; None without one."""
    return torch.cuda.mem_get_info()[0] / 2**30 if bench.on_cuda else None


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
