"""Several processes train one adapter together: here two, on CPU, with gloo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from star_engine.config.star import Training
from star_engine.gpu.training.lora_run import LoraRun, Ranks
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.training.parallel_trainer import ParallelTrainer
from star_engine.gpu.training.tokenized_rows import TokenizedRow
from star_engine.gpu.training.train_rank import EXIT_FAILED
from star_engine.protocols import TrainingJob
from tests.star_engine.gpu.training.test_lora_trainer import WEIGHTS, sums

TRAINING = Training(batch_size=7, learning_rate=3e-3, checkpoint_every=4)  # 7: the ranks' parts are unlike
STEPS = 10


def losses(
    trainer: LoraTrainer | ParallelTrainer, folder: Path, stop_after: int | None = None
) -> list[tuple[int, float]]:
    out, checkpoints = folder / "adapter", folder / "checkpoints"
    run = trainer.train(TrainingJob(tuple(sums(20)), TRAINING, STEPS, 0, out, checkpoints))
    seen = []
    for progress in run:
        seen.append((progress.step, progress.loss))
        if progress.step == stop_after:
            break
    run.close()  # type: ignore[attr-defined]
    return seen


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_two_processes_learn_what_one_does_and_go_on_where_they_were(
    tiny_model: Path, tmp_path: Path
) -> None:
    others = children()
    one = losses(LoraTrainer(tiny_model, threads=1), tmp_path / "one")
    two = ParallelTrainer(tiny_model, ranks=2, threads=2)
    first = losses(two, tmp_path / "two", stop_after=6)
    assert children() == others, "the ranks end with the training that was left"
    assert not (tmp_path / "two/adapter").exists()
    second = losses(two, tmp_path / "two")
    assert [step for step, _ in second] == [5, 6, 7, 8, 9, 10], "from the checkpoint of step 4"
    both = [*first[:4], *second]
    assert [loss for _, loss in both] == pytest.approx([loss for _, loss in one], rel=1e-4)
    assert both[-1][1] < both[0][1]
    ours, theirs = (load_file(tmp_path / name / "adapter" / WEIGHTS) for name in ("two", "one"))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-3) for name in theirs)


@pytest.mark.long  # every launch imports torch twice
def test_an_error_of_the_ranks_is_raised_here(tiny_model: Path, tmp_path: Path) -> None:
    two = ParallelTrainer(tiny_model, ranks=2, threads=2)
    training = TRAINING.model_copy(update={"max_length": 16})
    job = TrainingJob(tuple(sums(3)), training, 1, 0, tmp_path / "out", tmp_path / "checkpoints")
    others = children()
    with pytest.raises(ValueError, match=r"All 3 training rows have more tokens"):
        list(two.train(job))
    assert children() == others


def test_a_process_that_failed_waits_until_it_is_ended(tmp_path: Path) -> None:
    """The others would fail at the lost connection, and their errors could be read before its own."""
    command = [sys.executable, "-m", "star_engine.gpu.training.train_rank", str(tmp_path / "no.json"), "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as failed:
        assert failed.stdin is not None
        assert failed.stdout is not None
        assert json.loads(failed.stdout.readline())["error"]["kind"] == "FileNotFoundError"
        failed.stdin.close()
        assert failed.wait(60) == EXIT_FAILED, "not by itself"


def test_the_rows_of_a_batch_are_dealt_out_completely_and_evenly() -> None:
    rows = [TokenizedRow(tuple(range(length)), 1) for length in (9, 2, 7, 3, 8)]
    parts = [Ranks(rank, 2).part(rows) for rank in range(2)]
    assert sorted(len(row.ids) for part in parts for row in part) == [2, 3, 7, 8, 9]
    assert [sum(len(row.ids) for row in part) for part in parts] == [18, 11]
    assert Ranks(2, 3).part(rows[:2]) == []


def test_memory_that_one_rank_lacks_stops_the_step_on_all(tiny_model: Path) -> None:
    """The other one's message says so; this rank's own memory is enough."""

    def other_failed(summed: torch.Tensor) -> torch.Tensor:
        summed[-1] = 1
        return summed

    model = torch.nn.Linear(2, 2)
    training = Training(lora={"dropout": 0.1})  # so that no model is asked for a prefix to share
    run = LoraRun(model, training, 0, torch.device("cpu"), Ranks(0, 2, other_failed))
    before = model.weight.detach().clone()
    with pytest.raises(torch.OutOfMemoryError):
        run._add_up([0.5], 1)
    assert torch.equal(model.weight, before)
