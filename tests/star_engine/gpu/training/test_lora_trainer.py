"""LoRA training on a tiny model: the loss, the base model, resuming, and what is refused."""

from __future__ import annotations

import random
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, LlamaForCausalLM

from star_engine.config.lora import Lora
from star_engine.config.star import Training
from star_engine.gpu.training.checkpointing import checkpointed
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.phases.train import TrainingReport
from star_engine.protocols import (
    BadAdapter,
    OutOfMemory,
    SampleRequest,
    SamplingParams,
    Segment,
    TrainingJob,
    TrainingText,
)

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def trainer(tiny_model: Path) -> LoraTrainer:
    return LoraTrainer(tiny_model, threads=1)


def sums(count: int, seed: int = 0) -> list[TrainingText]:
    """Additions with a working of unlike length."""
    source = random.Random(seed)
    pairs = [(source.randint(0, 999), source.randint(0, 9999)) for _ in range(count)]
    return [
        TrainingText(f"Input: {a} + {b}\nTarget:", f" {a}, {b}, {'.' * (b % 7)} {a + b}") for a, b in pairs
    ]


def train(
    trainer: LoraTrainer,
    out: Path,
    training: Training,
    steps: int,
    *,
    rows: Sequence[TrainingText] | None = None,
    stop_after: int | None = None,
    start: Path | None = None,
    seed: int = 0,
) -> list[tuple[int, float]]:
    """Steps and losses; out/adapter holds the adapter, out/checkpoints the resume points."""
    learned = tuple(rows or sums(20))
    run = trainer.train(
        TrainingJob(learned, training, steps, seed, out / "adapter", out / "checkpoints", start)
    )
    seen = []
    for progress in run:
        seen.append((progress.step, progress.loss))
        if progress.step == stop_after:
            break
    run.close()  # type: ignore[attr-defined]
    return seen


def reference_loss(model: Path, rows: Sequence[TrainingText], *, prompts_too: bool = False) -> float:
    """Mean over the completion tokens of all rows, every row alone through the whole model.

    prompts_too: over the prompt tokens behind the first as well. A character of the rows is a token.
    """
    network = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model)
    total, count = 0.0, 0
    for row in rows:
        prompt = tokenizer(row.prompt).input_ids
        ids = [*prompt, *tokenizer(row.completion).input_ids, tokenizer.eos_token_id]
        start = 1 if prompts_too else len(prompt)
        labels = list(ids)
        for first, end in row.masked:
            labels[len(prompt) + first : len(prompt) + end] = [-100] * (end - first)
        logits = network(input_ids=torch.tensor([ids])).logits[0, start - 1 : -1]
        total += cross_entropy(logits, torch.tensor(labels[start:]), reduction="sum").item()
        count += sum(label != -100 for label in labels[start:])
    return total / count


def test_the_loss_is_the_mean_over_the_batchs_completion_tokens(
    trainer: LoraTrainer, tiny_model: Path, tmp_path: Path
) -> None:
    rows = sums(7)
    [(_, loss)] = train(trainer, tmp_path, Training(batch_size=7), 1, rows=rows)
    assert loss == pytest.approx(reference_loss(tiny_model, rows), rel=1e-5)


def test_the_loss_is_on_all_tokens_where_the_job_says_so(
    trainer: LoraTrainer, tiny_model: Path, tmp_path: Path
) -> None:
    rows = sums(7)
    training = Training(batch_size=7, loss="all")
    [(_, loss)] = train(trainer, tmp_path, training, 1, rows=rows)
    assert loss == pytest.approx(reference_loss(tiny_model, rows, prompts_too=True), rel=1e-5)
    assert loss != pytest.approx(reference_loss(tiny_model, rows), rel=1e-2)
    with_completions_only = train(trainer, tmp_path, Training(batch_size=7), 1, rows=rows)
    assert with_completions_only[0][1] == pytest.approx(reference_loss(tiny_model, rows), rel=1e-5)


@pytest.mark.parametrize("loss", ["completion", "all"])
def test_masked_spans_are_read_and_not_learned(
    trainer: LoraTrainer, tiny_model: Path, tmp_path: Path, loss: Literal["completion", "all"]
) -> None:
    rows = [
        TrainingText.of_segments(
            row.prompt, (Segment(row.completion), Segment(" > 12 +", learned=False), Segment(" so 3"))
        )
        for row in sums(7)
    ]
    plain = [TrainingText(row.prompt, row.completion) for row in rows]
    settings = Training(batch_size=7, loss=loss)
    [(_, learned)] = train(trainer, tmp_path, settings, 1, rows=rows)
    assert learned == pytest.approx(reference_loss(tiny_model, rows, prompts_too=loss == "all"), rel=1e-5)
    [(_, of_all)] = train(trainer, tmp_path, settings, 1, rows=plain)
    assert of_all == pytest.approx(reference_loss(tiny_model, plain, prompts_too=loss == "all"), rel=1e-5)
    assert learned != pytest.approx(of_all, rel=1e-2)


def test_resume_points_of_other_masks_are_not_used(trainer: LoraTrainer, tmp_path: Path) -> None:
    training = Training(checkpoint_every=1)
    train(trainer, tmp_path, training, 4, stop_after=3)
    masked = [TrainingText(row.prompt, row.completion, ((0, 2),)) for row in sums(20)]
    assert train(trainer, tmp_path, training, 4, rows=masked)[0][0] == 1


def test_micro_batches_change_neither_loss_nor_result(tiny_model: Path, tmp_path: Path) -> None:
    training = Training(batch_size=8, learning_rate=1e-3)
    whole, parts = LoraTrainer(tiny_model, threads=1), LoraTrainer(tiny_model, threads=1)
    parts._micro_tokens = 64
    losses = [train(one, tmp_path / str(n), training, 3) for n, one in enumerate((whole, parts))]
    assert [loss for _, loss in losses[0]] == pytest.approx([loss for _, loss in losses[1]], rel=1e-4)


def test_the_output_layer_sees_completion_positions_only(trainer: LoraTrainer, tmp_path: Path) -> None:
    seen: list[int] = []
    head = trainer._base.get_output_embeddings()
    handle = head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[:-1].numel()))
    rows = sums(8)
    train(trainer, tmp_path, Training(batch_size=8), 1, rows=rows)
    handle.remove()
    assert sum(seen) == sum(len(row.completion) + 1 for row in rows)  # one token a character, and EOS


@pytest.mark.parametrize("stop_after", [None, 2])
def test_the_base_model_is_the_same_afterwards(
    trainer: LoraTrainer, tmp_path: Path, stop_after: int | None
) -> None:
    before = {name: weight.clone() for name, weight in trainer._base.state_dict().items()}
    modules = [name for name, _ in trainer._base.named_modules()]
    train(trainer, tmp_path, Training(learning_rate=0.1), 4, stop_after=stop_after)
    after = trainer._base.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [name for name, _ in trainer._base.named_modules()] == modules
    assert not any(weight.requires_grad for weight in trainer._base.parameters())


@pytest.mark.parametrize("decay_share", [0.0, 0.6])
def test_a_resumed_run_ends_in_the_same_bytes(tiny_model: Path, tmp_path: Path, decay_share: float) -> None:
    training = Training(
        batch_size=4, checkpoint_every=3, learning_rate=3e-3, decay_share=decay_share, lora=Lora(dropout=0.2)
    )
    whole = train(LoraTrainer(tiny_model, threads=1), tmp_path / "whole", training, 10)
    first = train(LoraTrainer(tiny_model, threads=1), tmp_path / "parts", training, 10, stop_after=8)
    assert not (tmp_path / "parts/adapter").exists()
    torch.manual_seed(99)  # whatever else the process draws must not matter
    second = train(LoraTrainer(tiny_model, threads=1), tmp_path / "parts", training, 10)
    assert first[:6] + second == whole
    assert [step for step, _ in second] == [7, 8, 9, 10]
    assert (tmp_path / "whole/adapter" / WEIGHTS).read_bytes() == (
        tmp_path / "parts/adapter" / WEIGHTS
    ).read_bytes()


def damage_weights(folder: Path) -> None:
    data = bytearray((folder / "state.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "state.safetensors").write_bytes(data)


def cut_weights(folder: Path) -> None:
    (folder / "state.safetensors").write_bytes((folder / "state.safetensors").read_bytes()[:-100])


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def garble_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[1")


@pytest.mark.parametrize("damage", [damage_weights, cut_weights, remove_manifest, garble_manifest])
def test_a_damaged_resume_point_is_skipped_for_the_one_before(
    trainer: LoraTrainer, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    training = Training(batch_size=4, checkpoint_every=2)
    first = train(trainer, tmp_path, training, 7, stop_after=5)
    damage(tmp_path / "checkpoints/step-00000004")
    second = train(trainer, tmp_path, training, 7)
    assert [step for step, _ in second] == [3, 4, 5, 6, 7]
    assert second[:3] == first[2:]


@pytest.mark.parametrize(
    "change",
    [{"rows": sums(20, seed=1)}, {"seed": 1}, {"training": Training(checkpoint_every=2, learning_rate=1e-3)}],
    ids=["rows", "seed", "training"],
)
def test_resume_points_of_another_input_are_not_used(
    trainer: LoraTrainer, tmp_path: Path, change: dict[str, Any]
) -> None:
    training = Training(checkpoint_every=2)
    train(trainer, tmp_path, training, 6, stop_after=5)
    again = train(trainer, tmp_path, **{"training": training, "steps": 6, **change})
    assert [step for step, _ in again] == [1, 2, 3, 4, 5, 6]


def test_only_the_newest_resume_points_are_kept(trainer: LoraTrainer, tmp_path: Path) -> None:
    train(trainer, tmp_path, Training(checkpoint_every=1), 6)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000004",
        "step-00000005",
    ]


def test_another_seed_trains_another_adapter(trainer: LoraTrainer, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(trainer, tmp_path / str(seed), Training(), 2, seed=seed)
    assert (tmp_path / "0/adapter" / WEIGHTS).read_bytes() != (tmp_path / "1/adapter" / WEIGHTS).read_bytes()


def test_what_was_trained_is_what_peft_and_the_sampler_say(
    trainer: LoraTrainer, tiny_model: Path, tmp_path: Path
) -> None:
    rows = [TrainingText("Input: 3 + 4\nTarget:", " 7 it is"), TrainingText("Input: 15 + 1\nTarget:", " 16")]
    losses = train(trainer, tmp_path, Training(batch_size=2, learning_rate=1e-2), 60, rows=rows)
    assert losses[-1][1] < 0.05 < losses[0][1]
    prompts = [row.prompt for row in rows]  # of unlike lengths
    probe = trainer.probe(tmp_path / "adapter", prompts, 20)
    assert probe.texts == (" 7 it is", " 16")
    assert probe.base_texts != probe.texts
    assert probe.finite
    assert probe.weight_norm > 0
    assert probe.max_logit_delta > 0
    sampler = TransformersSampler(tiny_model)
    sampler.use(tmp_path / "adapter")
    queue = deque(SampleRequest(prompt, prompt) for prompt in prompts)
    said = {done.key: done.text for done in sampler.stream(queue, SamplingParams(max_tokens=20))}
    assert tuple(said[prompt] for prompt in prompts) == probe.texts


def test_training_goes_on_from_a_given_adapter(
    trainer: LoraTrainer, tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    training = Training(batch_size=8, lora=Lora(rank=4, alpha=8))
    rows = sums(8)
    [(_, loss)] = train(trainer, tmp_path, training, 1, rows=rows, start=tiny_adapter)
    base = LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    PeftModel.from_pretrained(base, str(tiny_adapter)).merge_and_unload().save_pretrained(tmp_path / "merged")
    for path in tiny_model.glob("token*"):
        shutil.copy(path, tmp_path / "merged")
    assert loss == pytest.approx(reference_loss(tmp_path / "merged", rows), rel=1e-4)


def test_an_adapter_of_another_rank_is_no_start(
    trainer: LoraTrainer, tiny_adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadAdapter, match=r"training.lora asks for"):
        train(trainer, tmp_path, Training(), 1, start=tiny_adapter)


def test_the_rate_warms_up_linearly_and_then_stays(trainer: LoraTrainer, tmp_path: Path) -> None:
    moved = []
    for warmup in (0, 4):
        training = Training(warmup_steps=warmup, learning_rate=1e-3, lora=Lora(rank=2))
        train(trainer, tmp_path / str(warmup), training, 1)
        weights = load_file(tmp_path / str(warmup) / "adapter" / WEIGHTS)
        moved.append(max(weight.abs().max().item() for name, weight in weights.items() if "lora_B" in name))
    # B starts at zero, and Adam's first step moves a weight by the rate.
    assert moved == pytest.approx([1e-3, 0.25e-3], rel=1e-3)


def test_the_rate_falls_linearly_over_its_share_of_the_steps(trainer: LoraTrainer, tmp_path: Path) -> None:
    training = Training(warmup_steps=2, decay_share=0.5, learning_rate=1e-3, lora=Lora(rank=2))
    job = TrainingJob(tuple(sums(20)), training, 8, 1, tmp_path / "adapter", tmp_path / "checkpoints")
    rates = [1e3 * one.learning_rate for one in trainer.train(job)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_progress_tells_the_rate_of_each_step_and_the_gradient_norm_before_clipping(
    trainer: LoraTrainer, tmp_path: Path
) -> None:
    norms = []
    for limit in (1.0, 1e-6):
        training = Training(warmup_steps=4, learning_rate=1e-3, max_grad_norm=limit, lora=Lora(rank=2))
        folder = tmp_path / str(limit)
        job = TrainingJob(tuple(sums(20)), training, 5, 1, folder / "adapter", folder / "checkpoints")
        seen = list(trainer.train(job))
        assert [one.learning_rate for one in seen] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3])
        norms.append(seen[0].grad_norm)
    assert norms[0] == norms[1] > 1e-3


def test_a_loss_that_is_not_finite_stops_the_training(
    trainer: LoraTrainer, tiny_adapter: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_adapter, tmp_path / "start")
    weights = load_file(tmp_path / "start" / WEIGHTS)
    next(iter(weights.values()))[0, 0] = float("inf")
    save_file(weights, tmp_path / "start" / WEIGHTS)
    with pytest.raises(FloatingPointError, match=r"optimizer step 1 is nan.*Lower training.learning_rate"):
        train(trainer, tmp_path, Training(lora=Lora(rank=4, alpha=8)), 2, start=tmp_path / "start")
    assert not (tmp_path / "adapter").exists()


def test_a_row_that_is_too_long_is_left_out_and_counted(trainer: LoraTrainer, tmp_path: Path) -> None:
    long = TrainingText("Input: 1", " " + "9" * 200)
    job = TrainingJob((*sums(3), long), Training(max_length=128), 1, 0, tmp_path / "out", tmp_path / "points")
    assert [progress.too_long for progress in trainer.train(job)] == [1]
    with pytest.raises(ValueError, match=r"All 2 training rows have more tokens, 210 or more, than .* = 128"):
        train(trainer, tmp_path / "none", Training(max_length=128), 1, rows=[long, long])


def test_a_step_of_tokens_holds_the_rows_that_fit(trainer: LoraTrainer, tmp_path: Path) -> None:
    asked = Training(batch_tokens=200)
    job = TrainingJob(tuple(sums(12)), asked, 4, 0, tmp_path / "out", tmp_path / "points")
    seen = [progress.tokens for progress in trainer.train(job)]
    steps = [after - before for before, after in pairwise([0, *seen])]
    assert all(150 < tokens <= 200 for tokens in steps)


FREE = 300_000  # bytes: a row of the sums keeps 440 kB in two layers


class SmallDevice:
    """A device that holds so many tokens at once: larger batches run out of memory, as on CUDA."""

    def __init__(self, trainer: LoraTrainer, tokens: int) -> None:
        self.batches: list[int] = []
        self._tokens = tokens
        self._handle = trainer._base.model.register_forward_pre_hook(self._hold, with_kwargs=True)

    def _hold(self, _: Any, __: Any, inputs: dict[str, Any]) -> None:
        self.batches.append(inputs["input_ids"].numel())
        if self.batches[-1] > self._tokens:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    def __enter__(self) -> SmallDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()


def test_a_batch_that_does_not_fit_runs_in_smaller_parts_with_the_same_result(
    tiny_model: Path, tmp_path: Path
) -> None:
    training = Training(batch_size=16)
    roomy = train(LoraTrainer(tiny_model, threads=1), tmp_path / "roomy", training, 2)
    trainer = LoraTrainer(tiny_model, threads=1)
    with SmallDevice(trainer, 150) as device:
        small = train(trainer, tmp_path / "small", training, 2)
    assert max(device.batches) > 150
    assert [loss for _, loss in small] == pytest.approx([loss for _, loss in roomy], rel=1e-4)


def test_a_row_that_does_not_fit_alone_is_out_of_memory(tiny_model: Path, tmp_path: Path) -> None:
    trainer = LoraTrainer(tiny_model, threads=1)
    with SmallDevice(trainer, 10), pytest.raises(OutOfMemory, match="One training row of"):
        train(trainer, tmp_path, Training(), 1)


def test_layers_are_checkpointed_before_a_row_is_given_up(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the two, by the estimate of what is free; then the other as well, where that did not do."""
    roomy = train(LoraTrainer(tiny_model, threads=1), tmp_path / "roomy", Training(), 2)
    trainer = LoraTrainer(tiny_model, threads=1)
    tried: list[int] = []
    monkeypatch.setattr("star_engine.gpu.training.lora_trainer.free_bytes", lambda _: FREE)

    def hold(*_: Any) -> None:
        tried.append(checkpointed(trainer._base))
        if tried[-1] < 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    handle = trainer._base.model.register_forward_pre_hook(hold)
    out = tmp_path / "small"
    found = list(
        trainer.train(TrainingJob(tuple(sums(20)), Training(), 2, 0, out / "adapter", out / "checkpoints"))
    )
    handle.remove()
    assert list(dict.fromkeys(tried)) == [0, 1, 2], "as many as the estimate says, then more"
    assert [one.loss for one in found] == pytest.approx([loss for _, loss in roomy], rel=1e-4)
    report = TrainingReport(2, 0, "base", 20, 16)
    report.take(found[-1])
    assert report.as_json(1.0)["checkpointed_layers"] == 2
    assert report.as_json(1.0)["tokens_at_once"] == trainer._micro_tokens
    assert not trainer._base.is_gradient_checkpointing


def test_after_many_good_steps_more_is_tried_at_once_again(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("star_engine.gpu.training.lora_trainer.GOOD_STEPS", 2)
    trainer = LoraTrainer(tiny_model, threads=1)
    before = trainer._micro_tokens
    with SmallDevice(trainer, 150):
        train(trainer, tmp_path / "small", Training(batch_size=16), 1)
    assert trainer._micro_tokens <= 150
    train(trainer, tmp_path / "roomy", Training(batch_size=16), 20)
    assert trainer._micro_tokens == before
