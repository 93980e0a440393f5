"""Two processes train one adapter on a base model of which each holds half: on CPU, with gloo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor

from star_engine.config.star import Training
from star_engine.gpu.training.at_once import AtOnce, StartAgain
from star_engine.gpu.training.lora_run import LoraRun, Ranks
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.training.parallel_trainer import ParallelTrainer
from star_engine.gpu.training.sharded_model import load_sharded
from star_engine.phases.train import TrainingReport
from star_engine.protocols import OutOfMemory, ScoreRequest, TrainingJob, TrainingProgress
from tests.star_engine.gpu.training.test_lora_trainer import WEIGHTS, SmallDevice, sums, train
from tests.star_engine.gpu.training.test_parallel_trainer import TRAINING, children, losses
from tests.star_engine.gpu.training.test_shared_prefix import ROWS, adapted, gradients

SMALL = AtOnce(60)  # tokens: one or two rows at once, so that the ranks have unlike numbers of parts


@pytest.mark.timeout(1200)
def test_two_halves_learn_what_one_process_does_and_go_on_where_they_were(
    tiny_model: Path, tmp_path: Path
) -> None:
    others = children()
    one = losses(LoraTrainer(tiny_model, threads=1), tmp_path / "one")
    halves = ParallelTrainer(tiny_model, ranks=2, threads=2, sharded=True)
    halves._at_once = SMALL
    first = losses(halves, tmp_path / "two", stop_after=6)
    assert children() == others, "the ranks end with the training that was left"
    second = losses(halves, tmp_path / "two")
    assert [step for step, _ in second] == [5, 6, 7, 8, 9, 10], "from the checkpoint of step 4"
    both = [*first[:4], *second]
    assert [loss for _, loss in both] == pytest.approx([loss for _, loss in one], rel=1e-4)
    ours, theirs = (load_file(tmp_path / name / "adapter" / WEIGHTS) for name in ("two", "one"))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-3) for name in theirs)


@pytest.mark.long  # four processes import torch
@pytest.mark.timeout(1200)
def test_halves_probe_and_score_an_adapter_as_the_whole_model_does(
    tiny_model: Path, tiny_adapter: Path
) -> None:
    alone = LoraTrainer(tiny_model, threads=1)
    halves = ParallelTrainer(tiny_model, ranks=2, threads=2, sharded=True)
    prompts = ["12+13", "1"]
    mine, whole = halves.probe(tiny_adapter, prompts, 8), alone.probe(tiny_adapter, prompts, 8)
    assert (mine.texts, mine.base_texts) == (whole.texts, whole.base_texts)
    assert mine.max_logit_delta == pytest.approx(whole.max_logit_delta, rel=1e-4)
    asked = [ScoreRequest(str(n), text) for n, text in enumerate(sums(2))]
    scores = halves.score_trained(tiny_adapter, asked), alone.score_trained(tiny_adapter, asked)
    for score, wanted in zip(*scores, strict=True):
        assert score.logprobs == pytest.approx(wanted.logprobs, abs=1e-4)


@pytest.fixture
def rank_0_of_2() -> Iterator[None]:
    """A process group of two, of which only this one is there: enough to load, not to compute."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("rank_0_of_2")
def test_a_rank_holds_its_half_of_every_layer_and_all_that_is_small(tiny_model: Path) -> None:
    model = load_sharded(tiny_model, dtype=torch.float32, device=torch.device("cpu"), ranks=2)
    whole = load_file(tiny_model / "model.safetensors")
    for name, weight in model.named_parameters():
        assert not weight.requires_grad
        if ".layers." in name:
            assert isinstance(weight, DTensor)
            assert torch.equal(weight.to_local(), whole[name][: whole[name].shape[0] // 2])
        else:
            assert torch.equal(weight, whole[name])
    assert model.lm_head.weight is model.model.embed_tokens.weight, "tied, as the config says"


@pytest.mark.usefixtures("rank_0_of_2")
def test_a_model_with_other_names_in_its_files_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    for file in ("config.json", "generation_config.json"):
        (tmp_path / file).write_bytes((tiny_model / file).read_bytes())
    whole = load_file(tiny_model / "model.safetensors")
    save_file({f"language_{name}": weight for name, weight in whole.items()}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"its files have no weight model\.embed_tokens\.weight"):
        load_sharded(tmp_path, dtype=torch.float32, device=torch.device("cpu"), ranks=2)


class Passes:
    """Counts the passes through a model."""

    count = 0

    def __call__(self, *_: Any) -> None:
        self.count += 1


@pytest.mark.parametrize("ahead", [0, 3])
def test_passes_for_the_other_rank_add_nothing(tiny_model: Path, ahead: int) -> None:
    """The other rank has so many parts more than this one: this one computes along."""

    def other(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype == torch.int64:  # how many parts each rank has
            return torch.tensor([int(tensor[0]), int(tensor[0]) + ahead])
        return tensor

    found = []
    for ranks in (Ranks(0, 2, other), Ranks(0, 2, other, sharded=True)):
        model, passes = adapted(tiny_model), Passes()
        model.get_base_model().model.register_forward_pre_hook(passes)
        asked = Training(learning_rate=1e-30, max_grad_norm=1e9, lora={"rank": 4, "alpha": 8, "dropout": 0})
        run = LoraRun(model, asked, 0, torch.device("cpu"), ranks)
        loss = run.learn(ROWS, 4096).loss
        found.append((loss, gradients(model), passes.count))
    (loss, wanted, _), (same, gradient, made) = found
    assert made == 1 + ahead
    assert same == pytest.approx(loss, rel=1e-6)
    for name, one in wanted.items():
        torch.testing.assert_close(gradient[name], one, rtol=1e-4, atol=1e-5 * one.abs().max().item())


def test_a_rank_without_memory_asks_all_to_start_again_with_less(tiny_model: Path, tmp_path: Path) -> None:
    """It must not try again by itself: the others wait inside a layer."""
    trainer = LoraTrainer(tiny_model, threads=1)
    before = trainer._micro_tokens
    trainer._ranks = replace(trainer._ranks, sharded=True)
    with SmallDevice(trainer, 10), pytest.raises(StartAgain) as again:
        train(trainer, tmp_path, Training(), 1)
    assert again.value.at_once == AtOnce(before // 2)


def test_less_is_tried_until_one_row_does_not_fit_checkpointed() -> None:
    def tries(layers: int, needed: int | None) -> list[AtOnce]:
        tried = [AtOnce(100)]
        while tried[-1] != AtOnce(40, layers):
            tried.append(tried[-1].smaller(40, layers, needed))
        with pytest.raises(OutOfMemory, match="One training row of 40 tokens does not fit"):
            tried[-1].smaller(40, layers, needed)
        return tried

    row = [AtOnce(100), AtOnce(50), AtOnce(40)]
    assert tries(0, None) == row
    assert tries(28, None) == [*row, AtOnce(40, 28)]
    assert tries(28, 99) == [*row, AtOnce(40, 28)]
    estimated = tries(28, 6)  # where the estimate was too low, half of what is left each time
    assert estimated == [*row, *(AtOnce(40, count) for count in (6, 17, 23, 26, 27, 28))]


def test_all_ranks_start_again_with_what_one_asked_for_and_remember_it(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = ParallelTrainer(tiny_model, ranks=2, sharded=True)
    begun: list[AtOnce | None] = []

    def ask(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        begun.append(trainer._at_once)
        yield {
            "progress": {"step": 1, "steps": 1, "loss": 1, "tokens": 1, "grad_norm": 1, "learning_rate": 1}
        }
        if len(begun) == 1:
            raise StartAgain(AtOnce(30))

    monkeypatch.setattr(trainer, "_ask", ask)
    job = TrainingJob(tuple(sums(3)), TRAINING, 1, 0, tmp_path / "out", tmp_path / "points")
    steps: Sequence[TrainingProgress] = [*trainer.train(job), *trainer.train(job)]
    assert len(steps) == 3
    assert begun == [None, AtOnce(30), AtOnce(30)]


def test_the_report_says_over_how_many_ranks_the_model_was_spread() -> None:
    report = TrainingReport(2, 0, "base", 20, 16)
    report.take(TrainingProgress(1, 2, 0.5, 9, 1.0, 1e-3, tokens_at_once=60, ranks=2, sharded=True))
    shown = report.as_json(1.0)
    assert (shown["ranks"], shown["sharded"]) == (2, True)


def test_tokens_are_counted_without_the_model(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may fit no single device."""
    trainer = ParallelTrainer(tiny_model, ranks=2, sharded=True)
    monkeypatch.setattr(trainer, "_one", None)
    assert trainer.training_token_ids(["12+13"]) == LoraTrainer(tiny_model).training_token_ids(["12+13"])
