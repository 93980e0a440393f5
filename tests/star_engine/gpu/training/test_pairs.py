"""Learning from preference pairs: the loss of every step against TRL and the formula, resuming, and ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from star_engine.config.lora import Lora
from star_engine.config.schedules import FixedSchedule
from star_engine.config.star import Training
from star_engine.gpu.causal_lm import load_model, load_tokenizer
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.training.parallel_trainer import ParallelTrainer
from star_engine.gpu.training.tokenized_rows import batch_of_step
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import (
    Preference,
    PreferencePair,
    ScoreRequest,
    TrainingJob,
    TrainingProgress,
    TrainingText,
)
from tests.star_engine.gpu.training.test_lora_trainer import WEIGHTS, sums

STEPS, SEED = 6, 3
TRAINING = Training(
    schedule=FixedSchedule(steps=STEPS),
    batch_size=4,
    learning_rate=2e-3,  # large: what is off by one step would show
    weight_decay=0.01,
    checkpoint_every=2,
    lora=Lora(rank=4, alpha=8),
)
DPO = Preference(beta=0.1)


@pytest.fixture(scope="module")
def pairs(tiny_model: Path) -> tuple[PreferencePair, ...]:
    """Right sums against others, under the base model as the reference."""
    right, other = sums(10), sums(10, seed=1)
    texts = [
        one
        for chosen, wrong in zip(right, other, strict=True)
        for one in (chosen, TrainingText(chosen.prompt, wrong.completion))
    ]
    sampler = TransformersSampler(tiny_model, threads=1)
    requests = [ScoreRequest(str(n), text) for n, text in enumerate(texts)]
    scores = {score.key: score.total for score in sampler.score(requests)}
    return tuple(
        PreferencePair(texts[n], texts[n + 1], scores[str(n)], scores[str(n + 1)])
        for n in range(0, len(texts), 2)
    )


def job(pairs: Sequence[PreferencePair], out: Path, preference: Preference = DPO) -> TrainingJob:
    return TrainingJob(
        tuple(pairs), TRAINING, STEPS, SEED, out / "adapter", out / "checkpoints", preference=preference
    )


def trained(trainer: LoraTrainer | ParallelTrainer, work: TrainingJob) -> list[TrainingProgress]:
    return list(trainer.train(work))


@pytest.mark.timeout(300)  # TRL takes 3 to 40 s to import
def test_every_steps_loss_is_that_of_trls_dpo_trainer(
    tiny_model: Path, pairs: tuple[PreferencePair, ...], tmp_path: Path
) -> None:
    ours = trained(LoraTrainer(tiny_model, threads=1), job(pairs, tmp_path))
    theirs = trl_steps(tiny_model, pairs, tmp_path / "trl")
    assert [one.loss for one in ours] == pytest.approx([one["loss"] for one in theirs], abs=1e-4)
    assert [one.grad_norm for one in ours] == pytest.approx([one["grad_norm"] for one in theirs], rel=1e-2)
    accuracies = [one["rewards/accuracies"] for one in theirs[1:]]  # at first every margin is rounding
    assert [one.pair_accuracy for one in ours[1:]] == pytest.approx(accuracies, abs=1e-6)
    margins = [one.margin * DPO.beta for one in ours if one.margin is not None]
    assert margins == pytest.approx([one["rewards/margins"] for one in theirs], abs=1e-3)
    assert ours[-1].loss < 0.98 * ours[0].loss  # both optimizers have moved the weights, in the same way


def test_before_the_first_step_the_loss_is_log_2_since_the_scorer_reads_as_the_trainer_does(
    tiny_model: Path, pairs: tuple[PreferencePair, ...], tmp_path: Path
) -> None:
    [first, *_] = trained(LoraTrainer(tiny_model, threads=1), job(pairs, tmp_path))
    assert first.loss == pytest.approx(math.log(2), abs=1e-5)
    assert first.margin == pytest.approx(0.0, abs=1e-3)


def test_the_nll_term_is_the_chosen_texts_loss_per_token_and_weights_scale_a_pair(
    tiny_model: Path, pairs: tuple[PreferencePair, ...], tmp_path: Path
) -> None:
    """Iterative RPO, equation 1, at the reference's own weights: log 2 and the reference's own likelihood."""
    four = [replace(pair, weight=0.5 + n) for n, pair in enumerate(pairs[:4])]
    [first, *_] = trained(LoraTrainer(tiny_model, threads=1), job(four, tmp_path, Preference(0.1, nll=2.0)))
    tokenizer = load_tokenizer(tiny_model)
    each = [
        math.log(2) - 2.0 * pair.reference_chosen / (len(tokenizer(pair.chosen.completion).input_ids) + 1)
        for pair in four
    ]
    expected = sum(pair.weight * loss for pair, loss in zip(four, each, strict=True)) / 4
    assert first.loss == pytest.approx(expected, rel=1e-5)


def test_a_killed_training_ends_in_the_same_bytes(
    tiny_model: Path, pairs: tuple[PreferencePair, ...], tmp_path: Path
) -> None:
    trained(LoraTrainer(tiny_model, threads=1), job(pairs, tmp_path / "whole"))
    for stop_after in (3, 5):
        run = LoraTrainer(tiny_model, threads=1).train(job(pairs, tmp_path / "killed"))
        for progress in run:
            if progress.step == stop_after:
                break
        run.close()  # type: ignore[attr-defined]
    seen = [one.step for one in trained(LoraTrainer(tiny_model, threads=1), job(pairs, tmp_path / "killed"))]
    assert seen == [5, 6]
    whole, killed = ((tmp_path / name / "adapter" / WEIGHTS).read_bytes() for name in ("whole", "killed"))
    assert whole == killed


def test_a_resume_point_of_other_reference_probabilities_is_not_gone_on_from(
    tiny_model: Path, pairs: tuple[PreferencePair, ...], tmp_path: Path
) -> None:
    trained(LoraTrainer(tiny_model, threads=1), job(pairs, tmp_path))
    others = [replace(pair, reference_chosen=pair.reference_chosen - 1) for pair in pairs]
    assert trained(LoraTrainer(tiny_model, threads=1), job(others, tmp_path))[0].step == 1


def test_small_parts_and_two_processes_learn_what_one_pass_does(
    tiny_model: Path, pairs: tuple[PreferencePair, ...], tmp_path: Path
) -> None:
    alone = LoraTrainer(tiny_model, threads=1)
    whole = trained(alone, job(pairs, tmp_path / "whole"))
    alone._micro_tokens = 1
    parts = trained(alone, job(pairs, tmp_path / "parts"))
    two = trained(ParallelTrainer(tiny_model, ranks=2, threads=2, device="cpu"), job(pairs, tmp_path / "two"))
    for other in (parts, two):
        assert [one.loss for one in other] == pytest.approx([one.loss for one in whole], abs=1e-4)
        assert [one.pair_accuracy for one in other[1:]] == pytest.approx(
            [one.pair_accuracy for one in whole[1:]], abs=1e-6
        )


def test_a_pair_with_a_long_side_is_left_out_and_a_job_of_pairs_survives_the_pipe(
    tiny_model: Path, pairs: tuple[PreferencePair, ...], tmp_path: Path
) -> None:
    long_ = replace(pairs[0], rejected=TrainingText(pairs[0].rejected.prompt, " 1" * 600))
    work = TrainingJob.from_json(job([long_, *pairs], tmp_path).to_json())
    assert work == job([long_, *pairs], tmp_path)
    assert trained(LoraTrainer(tiny_model, threads=1), work)[-1].too_long == 1


def test_pairs_without_their_loss_are_refused(pairs: tuple[PreferencePair, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give both or neither"):
        replace(job(pairs, tmp_path), preference=None)
    with pytest.raises(ValueError, match="give both or neither"):
        replace(job(pairs, tmp_path), data=tuple(sums(2)))


def trl_steps(model: Path, pairs: Sequence[PreferencePair], out: Path) -> list[dict[str, float]]:
    """TRL's own tokenization, reference pass, optimizer and schedule; ours are only the order of the pairs
    and the seed of the adapter's first weights."""
    import peft
    from datasets import Dataset  # type: ignore[import-untyped]
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    order = [n for step in range(STEPS) for n in batch_of_step(len(pairs), TRAINING.batch_size, SEED, step)]
    rows = [
        {
            "prompt": pairs[n].chosen.prompt,
            "chosen": pairs[n].chosen.completion,
            "rejected": pairs[n].rejected.completion,
        }
        for n in order
    ]
    lora = TRAINING.lora
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear"
    )
    base: Any = load_model(model, dtype=torch.float32, device="cpu")
    torch.manual_seed(SEED)
    trainer = DPOTrainer(
        model=peft.get_peft_model(base, config),
        processing_class=load_tokenizer(model),
        train_dataset=Dataset.from_list(rows),
        args=DPOConfig(
            output_dir=str(out),
            max_steps=STEPS,
            per_device_train_batch_size=TRAINING.batch_size,
            train_sampling_strategy="sequential",
            beta=DPO.beta,
            learning_rate=TRAINING.learning_rate,
            lr_scheduler_type="constant",
            weight_decay=TRAINING.weight_decay,
            max_grad_norm=TRAINING.max_grad_norm,
            max_length=None,
            disable_dropout=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            logging_steps=1,
            logging_first_step=True,
            save_strategy="no",
            report_to="none",
        ),
    )
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def test_peft_and_the_sampler_find_texts_equally_likely_under_an_adapter(
    tiny_model: Path, tiny_adapter: Path
) -> None:
    requests = [ScoreRequest(str(n), text) for n, text in enumerate(sums(4))]
    peft = LoraTrainer(tiny_model, threads=1).score_trained(tiny_adapter, requests)
    sampler = TransformersSampler(tiny_model, threads=1)
    base = {score.key: score for score in sampler.score(requests)}
    sampler.use(tiny_adapter)
    merged = {score.key: score for score in sampler.score(requests)}
    assert [score.key for score in peft] == [request.key for request in requests]
    for score in peft:
        assert score.logprobs == pytest.approx(merged[score.key].logprobs, abs=1e-4)
        assert score.total != pytest.approx(base[score.key].total, abs=1e-3)
