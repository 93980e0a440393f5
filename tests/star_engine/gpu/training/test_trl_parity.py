"""The loss of every training step against TRL's SFTTrainer, given the same batches in the same order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from star_engine.config.lora import Lora
from star_engine.config.schedules import FixedSchedule
from star_engine.config.star import Training
from star_engine.gpu.causal_lm import load_model, load_tokenizer
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.training.tokenized_rows import batch_of_step
from star_engine.protocols import TrainingJob, TrainingText
from tests.star_engine.gpu.training.test_lora_trainer import sums

STEPS, SEED = 8, 3
TRAINING = Training(
    schedule=FixedSchedule(steps=STEPS),
    batch_size=4,
    learning_rate=5e-3,  # large: what is off by one step would show
    weight_decay=0.01,
    lora=Lora(rank=4, alpha=8),
)


@pytest.mark.timeout(300)  # TRL takes 3 to 40 s to import
def test_every_steps_loss_is_that_of_trls_sft_trainer(tiny_model: Path, tmp_path: Path) -> None:
    rows = sums(14)
    job = TrainingJob(tuple(rows), TRAINING, STEPS, SEED, tmp_path / "adapter", tmp_path / "checkpoints")
    ours = LoraTrainer(tiny_model, threads=1).train(job)
    losses = [progress.loss for progress in ours]
    assert losses == pytest.approx(trl_losses(tiny_model, rows, tmp_path / "trl"), rel=1e-3)
    assert losses[-1] < 0.9 * losses[0]  # the optimizers have moved the weights, in the same way


def trl_losses(model: Path, rows: list[TrainingText], out: Path) -> list[float]:
    """TRL's own tokenization, mask, collation, optimizer and schedule; ours are only the order of the rows
    and the seed of the adapter's first weights."""
    import peft
    from datasets import Dataset  # type: ignore[import-untyped]
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    order = [n for step in range(STEPS) for n in batch_of_step(len(rows), TRAINING.batch_size, SEED, step)]
    data = Dataset.from_list([{"prompt": rows[n].prompt, "completion": rows[n].completion} for n in order])
    lora = TRAINING.lora
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear"
    )
    base: Any = load_model(model, dtype=torch.float32, device="cpu")
    torch.manual_seed(SEED)
    trainer = SFTTrainer(
        model=peft.get_peft_model(base, config),
        processing_class=load_tokenizer(model),
        train_dataset=data,
        args=SFTConfig(
            output_dir=str(out),
            max_steps=STEPS,
            per_device_train_batch_size=TRAINING.batch_size,
            train_sampling_strategy="sequential",
            learning_rate=TRAINING.learning_rate,
            lr_scheduler_type="constant",
            weight_decay=TRAINING.weight_decay,
            max_grad_norm=TRAINING.max_grad_norm,
            max_length=TRAINING.max_length,
            completion_only_loss=True,
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
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
