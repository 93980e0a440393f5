"""Training processes below a GPU process: they end with it, however that ends."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from star_engine.config.star import Training
from star_engine.protocols import TrainingJob, TrainingText
from tests.star_engine.gpu.conftest import tiny_model
from tests.worker.gpus import gone, wait_until
from worker.gpu.process import GpuDied, GpuProcess, GpuSpec

__all__ = ["tiny_model"]

ROWS = tuple(TrainingText(f"Input: {n} + 1\nTarget:", f" {n + 1}") for n in range(8))


@pytest.mark.long  # six processes import torch
@pytest.mark.timeout(1200)
def test_training_processes_end_with_the_gpu_process_and_the_training_goes_on_in_the_next_one(
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    spec = GpuSpec(tiny_model, threads=2, training_ranks=2)
    training = Training(batch_size=4, checkpoint_every=1)
    job = TrainingJob(ROWS, training, 10_000, 0, tmp_path / "adapter", tmp_path / "checkpoints")

    first = GpuProcess(spec, tmp_path / "first.log")
    run = first.train(job)
    assert [next(run).step for _ in range(3)] == [1, 2, 3]
    ranks = [child.pid for child in psutil.Process(first.pid).children() if _is_rank(child)]
    assert len(ranks) == 2
    psutil.Process(first.pid).kill()
    wait_until(lambda: all(gone(pid) for pid in ranks), "the ranks are gone")
    with pytest.raises(GpuDied):
        list(run)

    second = GpuProcess(spec, tmp_path / "second.log")
    run = second.train(job)
    assert next(run).step >= 4
    second.kill()


def _is_rank(process: psutil.Process) -> bool:
    return "star_engine.gpu.training.train_rank" in process.cmdline()
