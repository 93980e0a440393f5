"""What happens when a GPU has no memory left. The sampler and trainer are the scripted ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from star_engine.config.star import Training
from star_engine.phases.train import TrainingReport
from star_engine.protocols import OutOfMemory, TrainingJob, TrainingProgress, is_out_of_memory
from worker.gpu.calls import Call, train
from worker.gpu.child import classify
from worker.gpu.models import Models
from worker.gpu.process import EXIT_OUT_OF_MEMORY, GpuProcess, GpuSpec


class AcceleratorError(RuntimeError):
    """As PyTorch names it."""


class OutOfMemoryError(RuntimeError):
    """As PyTorch names it."""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OutOfMemory("one row"), True),
        (OutOfMemoryError("Tried to allocate 2 GiB"), True),
        (AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (RuntimeError("Engine core initialization failed: torch.OutOfMemoryError"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("the row says: out of memory"), False),
    ],
)
def test_lack_of_memory_is_recognised_whoever_says_so(error: Exception, told: bool) -> None:
    assert is_out_of_memory(error) == told
    kind, status = classify(error)
    assert (kind == "OutOfMemory") == told
    assert (status == EXIT_OUT_OF_MEMORY) == told


def test_lack_of_memory_is_recognised_in_what_an_error_was_raised_from() -> None:
    error = RuntimeError("the engine ended")
    error.__cause__ = OutOfMemoryError()
    assert is_out_of_memory(error)


class Trainer:
    """Runs out of memory for as long as the sampler is loaded."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.calls = 0
        self.fits = False

    def train(self, job: TrainingJob) -> Iterator[TrainingProgress]:
        self.calls += 1
        if self.models._sampler is not None and not self.fits:
            raise OutOfMemory("no room")
        yield TrainingProgress(1, 1, 0.5, 10, 0.1, 1e-4, tokens_at_once=64)


def scripted_models(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Models, Trainer]:
    options = {"script": "tests.factories:pupil"}
    models = Models(GpuSpec(tmp_path, sampler="scripted", device=device, options=options))
    trainer = Trainer(models)
    monkeypatch.setattr(models, "trainer", lambda: trainer)
    models.sampler()
    return models, trainer


def call_for(tmp_path: Path) -> Call:
    job = TrainingJob(data=(), settings=Training(), steps=1, seed=0, checkpoints=tmp_path, out=tmp_path)
    return Call({"call": "train", "id": 1, "job": job.to_json()})


def test_a_training_that_lacks_memory_beside_the_sampler_is_done_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, trainer = scripted_models("cuda", tmp_path, monkeypatch)
    events: list[Any] = []
    train(models, call_for(tmp_path), events.append)
    assert (trainer.calls, [event["step"] for event in events]) == (2, [1])
    assert events[0]["sampler_share"] is None


def test_the_report_of_a_training_says_which_share_of_the_gpu_vllm_had_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, trainer = scripted_models("cuda", tmp_path, monkeypatch)
    models._share, trainer.fits = 0.42, True
    events: list[Any] = []
    train(models, call_for(tmp_path), events.append)
    report = TrainingReport(1, 0, "base", 1, 1)
    report.take(TrainingProgress(**events[0]))
    assert report.as_json(1.0)["sampler_share"] == 0.42


def test_on_a_cpu_the_sampler_makes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models, trainer = scripted_models("cpu", tmp_path, monkeypatch)
    with pytest.raises(OutOfMemory):
        train(models, call_for(tmp_path), lambda event: None)
    assert trainer.calls == 1


def test_an_engine_for_a_large_lora_rank_serves_smaller_ones(tmp_path: Path) -> None:
    options = {"script": "tests.factories:pupil"}

    def spec(rank: int, **given: Any) -> GpuSpec:
        return GpuSpec(tmp_path, sampler="scripted", lora_rank=rank, options=options, **given)

    process = GpuProcess(spec(64), tmp_path / "log")
    try:
        assert process.matches(spec(8))
        assert not process.matches(spec(128))
        assert not process.matches(spec(8, halvings=1))
    finally:
        process.kill()
