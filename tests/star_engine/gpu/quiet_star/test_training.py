"""A trained adapter: what it learns, that it resumes to the byte, that its files load, what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from star_engine.adapters.layout import HEAD, THINKING
from star_engine.adapters.thought_memory import ModelShape, training_bytes
from star_engine.config.quiet_star import QuietStar
from star_engine.gpu.causal_lm import load_model
from star_engine.gpu.quiet_star import memory
from star_engine.gpu.quiet_star.files import load_quiet_adapter
from star_engine.gpu.quiet_star.measuring import measure
from star_engine.gpu.quiet_star.thinking import Thinker
from star_engine.gpu.quiet_star.trainer import QuietTrainer
from star_engine.protocols import BadAdapter
from star_engine.thoughts import QuietStep, Worth
from tests.star_engine.gpu.quiet_star.conftest import NONE_BANNED

WINDOWS = torch.randint(5, 40, (6, 10), generator=torch.Generator().manual_seed(0)).tolist()
SETTINGS_OF_TEST: dict[str, Any] = {
    "window": 10, "thought_tokens": 2, "ahead_tokens": 2, "batch_windows": 2, "checkpoint_every": 2,
    "warmup_steps": 0, "learning_rate": 0.01, "lora": {"rank": 2},
}  # fmt: skip


def train(
    model: Path | QuietTrainer,
    folder: Path,
    steps: int = 5,
    windows: Sequence[Sequence[int]] = WINDOWS,
    **settings: Any,
) -> list[QuietStep]:
    chosen = QuietStar.model_validate(SETTINGS_OF_TEST | settings)
    trainer = model if isinstance(model, QuietTrainer) else QuietTrainer(model, threads=1)
    return list(
        trainer.train(
            windows, chosen, steps=steps, seed=0, out=folder / "out", checkpoints=folder / "checkpoints"
        )
    )


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (folder / "out").iterdir()}


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_run_that_was_stopped_ends_in_the_same_bytes(
    tiny_model: Path, tmp_path: Path, dropout: float
) -> None:
    lora = {"rank": 2, "dropout": dropout}
    whole = train(tiny_model, tmp_path / "whole", lora=lora)
    chosen = QuietStar.model_validate({**SETTINGS_OF_TEST, "lora": lora})
    trainer = QuietTrainer(tiny_model, threads=1)
    stopped = trainer.train(
        WINDOWS, chosen, steps=5, seed=0, out=tmp_path / "out", checkpoints=tmp_path / "checkpoints"
    )
    assert [next(stopped).step for _ in range(3)] == [1, 2, 3]
    del stopped
    resumed = train(tiny_model, tmp_path, lora=lora)
    assert resumed == whole[2:]
    assert hashes(tmp_path) == hashes(tmp_path / "whole")


def test_dropout_of_the_adapter_is_on_in_training(tiny_model: Path, tmp_path: Path) -> None:
    plain, dropped = (
        train(tiny_model, tmp_path / str(dropout), 3, lora={"rank": 2, "dropout": dropout})
        for dropout in (0.0, 0.5)
    )
    assert plain[0].loss == dropped[0].loss  # before the first step the adapter adds nothing
    assert plain[2].loss != dropped[2].loss


def test_another_run_in_the_same_folder_starts_over(tiny_model: Path, tmp_path: Path) -> None:
    train(tiny_model, tmp_path)
    assert [step.step for step in train(tiny_model, tmp_path, temperature=0.5)] == [1, 2, 3, 4, 5]


def bytes_needed(model: Path, *, checkpointed: bool) -> int:
    chosen = QuietStar.model_validate(SETTINGS_OF_TEST)
    return training_bytes(chosen, ModelShape.of(model), 4, checkpointed=checkpointed)


def test_passes_are_computed_twice_where_free_memory_asks_for_it_and_the_adapter_is_the_same(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, least = (bytes_needed(tiny_model, checkpointed=one) for one in (False, True))
    for free, twice in ((most, False), (most - 1, True), (least, True)):
        monkeypatch.setattr(memory, "available_bytes", lambda _, free=free: free)
        assert {step.checkpointed for step in train(tiny_model, tmp_path / str(free))} == {twice}
        assert hashes(tmp_path / str(free)) == hashes(tmp_path / str(most))
    monkeypatch.setattr(memory, "available_bytes", lambda _: least - 1)
    with pytest.raises(ValueError, match="GiB free: lower micro_batch"):
        train(tiny_model, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def run_out_of_memory(trainer: QuietTrainer, at: int) -> None:
    """Let the device have no room for the `at`-th pass over windows."""
    passes = count(1)

    def hold(*_: Any) -> None:
        if next(passes) == at:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    trainer.base.model.register_forward_pre_hook(hold)


def test_a_step_that_runs_out_of_memory_is_taken_again_with_passes_that_are_computed_twice(
    tiny_model: Path, tmp_path: Path
) -> None:
    lora = {"rank": 2, "dropout": 0.2}
    train(tiny_model, tmp_path / "roomy", lora=lora)
    trainer = QuietTrainer(tiny_model, threads=1)
    run_out_of_memory(trainer, 9)  # in the second step: the first has 6 passes
    steps = train(trainer, tmp_path, lora=lora)
    assert [step.checkpointed for step in steps] == [False, True, True, True, True]
    assert hashes(tmp_path) == hashes(tmp_path / "roomy")


def test_one_pass_alone_that_has_no_room_is_out_of_memory(tiny_model: Path, tmp_path: Path) -> None:
    trainer = QuietTrainer(tiny_model, threads=1)
    run_out_of_memory(trainer, 1)
    with pytest.raises(torch.OutOfMemoryError):
        train(trainer, tmp_path, thoughts="off")


@pytest.mark.parametrize("thoughts", ["sampled", "random", "pause", "off"])
def test_every_arm_learns_a_text_by_heart(tiny_model: Path, tmp_path: Path, thoughts: str) -> None:
    steps = train(tiny_model, tmp_path, 30, WINDOWS[:2], thoughts=thoughts)
    assert steps[-1].nll_without < 0.7 * steps[0].nll_without
    if thoughts == "off":
        assert (steps[-1].nll_mixed, steps[-1].weight, steps[-1].start_norm) == ((), 0.0, 0.0)
    else:
        assert steps[-1].nll_mixed[0] < 0.7 * steps[0].nll_mixed[0]
        assert steps[-1].start_norm > 0


def test_the_head_without_training_weighs_a_thought_as_set(tiny_model: Path, tmp_path: Path) -> None:
    [first] = train(tiny_model, tmp_path, 1, initial_weight=0.25)
    assert first.weight == pytest.approx(0.25)
    assert 0 < first.positive <= 0.5  # of two thoughts at most one is above their mean


def worth(tiny_model: Path, folder: Path, counted: torch.Tensor | None = None) -> Worth:
    model, head, settings = load_quiet_adapter(
        load_model(tiny_model, dtype=torch.float32, device="cpu"), folder / "out"
    )
    windows = torch.tensor(WINDOWS)
    return measure(Thinker(model, head, settings), windows, NONE_BANNED, seed=0, decode=str, counted=counted)


def test_files_load_and_predict_what_was_trained(tiny_model: Path, tmp_path: Path) -> None:
    steps = train(tiny_model, tmp_path, 30, WINDOWS[:2])
    found = worth(tiny_model, tmp_path)
    assert found.tokens == 6 * 9
    assert len(found.gain_by_difficulty) == 5
    assert found.thoughts[0].gain == max(one.gain for one in found.thoughts)
    alone = load_model(tiny_model, dtype=torch.float32, device="cpu")
    logits = alone(torch.tensor(WINDOWS[:2]))[0][:, :-1].log_softmax(-1)
    wanted = torch.tensor(WINDOWS[:2])[:, 1:, None]
    assert -logits.gather(-1, wanted).mean().item() == pytest.approx(steps[0].nll_without, rel=1e-4)


def test_only_the_tokens_that_are_asked_for_are_measured(tiny_model: Path, tmp_path: Path) -> None:
    train(tiny_model, tmp_path, 2)
    first, second = torch.zeros(6, 10, dtype=torch.bool), torch.zeros(6, 10, dtype=torch.bool)
    first[:, :5], second[:, 5:] = True, True
    whole, parts = worth(tiny_model, tmp_path), [worth(tiny_model, tmp_path, one) for one in (first, second)]
    assert [one.tokens for one in parts] == [24, 30]
    for step in range(2):
        counts = [24 - 6 * step, 30]  # the first token of a window is predicted by none, the second one ahead
        mean = sum(one.mixed[step] * n for one, n in zip(parts, counts, strict=True)) / sum(counts)
        assert mean == pytest.approx(whole.mixed[step], rel=1e-5)


def test_continued_training_gains_nothing_by_thoughts(tiny_model: Path, tmp_path: Path) -> None:
    train(tiny_model, tmp_path, 3, thoughts="off")
    assert worth(tiny_model, tmp_path).gain == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", [HEAD, THINKING, "adapter_model.safetensors"])
def test_an_adapter_with_a_damaged_file_is_refused(tiny_model: Path, tmp_path: Path, name: str) -> None:
    train(tiny_model, tmp_path, 1)
    (tmp_path / "out" / name).write_bytes(b"damaged")
    with pytest.raises(BadAdapter, match="cannot be loaded"):
        worth(tiny_model, tmp_path)


def test_what_does_not_fit_the_model_is_refused_before_anything_is_written(
    tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="takes 1043 positions, and the base model has 1024"):
        train(tiny_model, tmp_path, window=1024, thought_tokens=16)
    with pytest.raises(ValueError, match="fill no window of 10 tokens"):
        train(tiny_model, tmp_path, windows=[])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"rationales": 1}, "give 2 or more"), ({"window": 8, "ahead_tokens": 8}, "must be longer")],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        QuietStar.model_validate(settings)
