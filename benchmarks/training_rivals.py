"""The same training by LoraTrainer and by TRL's SFTTrainer: same rows, batches, adapter, optimizer, rate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import peft
import torch
from datasets import Dataset  # type: ignore[import-untyped]
from transformers import TrainerCallback

from star_engine.config.lora import Lora
from star_engine.config.schedules import FixedSchedule
from star_engine.config.star import Training
from star_engine.gpu.causal_lm import load_model, load_tokenizer
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.training.tokenized_rows import batch_of_step
from star_engine.protocols import TrainingJob, TrainingText

SEED = 0


@dataclass
class Measured:
    """One training of a few steps; the first warms up and is not counted."""

    ends: list[float] = field(default_factory=list)  # of the steps, by the clock
    losses: list[float] = field(default_factory=list)
    tokens: float | None = None  # of a step, where the trainer chooses what is in it

    @property
    def seconds(self) -> float:
        """Of a step, mean: steps are of unlike length, and the same for every trainer."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def training(steps: int, batch_size: int) -> Training:
    """A rate at which the losses of the first steps would tell a wrong gradient."""
    return Training(
        schedule=FixedSchedule(steps=steps),
        batch_size=batch_size,
        learning_rate=1e-3,
        max_length=2048,
        lora=Lora(rank=16, alpha=32),
    )


def order(rows: int, batch_size: int, steps: int) -> list[int]:
    """Row numbers as LoraTrainer takes them, step after step."""
    return [n for step in range(steps) for n in batch_of_step(rows, batch_size, SEED, step)]


def ours(trainer: LoraTrainer, rows: Sequence[TrainingText], asked: Training, steps: int) -> Measured:
    measured = Measured()
    with TemporaryDirectory() as folder:
        out, checkpoints = Path(folder) / "adapter", Path(folder) / "checkpoints"
        job = TrainingJob(tuple(rows), asked, steps, SEED, out, checkpoints)
        for progress in trainer.train(job):
            measured.ends.append(time.perf_counter())
            measured.losses.append(progress.loss)
    return measured


class _Clock(TrainerCallback):  # type: ignore[misc]
    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def on_step_end(self, *_: object, **__: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._measured.ends.append(time.perf_counter())


def trl(
    model: Path, device: str, rows: Sequence[TrainingText], asked: Training, steps: int, **options: Any
) -> Measured:
    """SFTTrainer with the options of TRL beside what makes the race fair; its losses are of every step."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    chosen = order(len(rows), asked.batch_size, steps)
    data = [{"prompt": rows[n].prompt, "completion": rows[n].completion} for n in chosen]
    cuda = device != "cpu"
    lora = peft.LoraConfig(
        task_type="CAUSAL_LM", r=asked.lora.rank, lora_alpha=asked.lora.alpha, target_modules="all-linear"
    )
    base = load_model(model, dtype=torch.bfloat16 if cuda else torch.float32, device=device)
    torch.manual_seed(SEED)
    measured = Measured()
    with TemporaryDirectory() as folder:
        settings: dict[str, Any] = {
            "output_dir": folder,
            "max_steps": steps,
            "per_device_train_batch_size": asked.batch_size,
            "train_sampling_strategy": "sequential",
            "learning_rate": asked.learning_rate,
            "lr_scheduler_type": "constant",
            "weight_decay": asked.weight_decay,
            "max_grad_norm": asked.max_grad_norm,
            "max_length": asked.max_length,
            "completion_only_loss": True,
            "use_cpu": not cuda,
            "bf16": cuda,
            "logging_steps": 1,
            "logging_first_step": True,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            **options,
        }
        trainer = SFTTrainer(
            model=peft.get_peft_model(base, lora),
            processing_class=load_tokenizer(model),
            train_dataset=Dataset.from_list(data),
            args=SFTConfig(**settings),
            callbacks=[_Clock(measured)],
        )
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    if settings.get("packing"):
        measured.tokens = (logged[-1]["num_tokens"] - logged[0]["num_tokens"]) / (steps - 1)
    else:
        measured.losses = [entry["loss"] for entry in logged]
    return measured
