"""B1, script 3 of 4: TRL's SFTTrainer with a PEFT adapter, which is then merged for vLLM.

    python -m benchmarks.baselines.train FOLDER

TRL's defaults but for what the service does otherwise too (rank, targets, rate, steps) and for what would
only slow it down here: no gradient checkpointing, no saving on the way, no logging to anywhere.
"""

from __future__ import annotations

import sys
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from benchmarks.baselines.task import MERGED, Task, noted, read_task, read_tries
from star_engine.data.selection import steps_in


def make_trainer(task: Task, rows: list[dict[str, str]], steps: int) -> Any:
    training = task.config.training
    on_cpu = task.device == "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        task.model, dtype=torch.float32 if on_cpu else torch.bfloat16, local_files_only=True
    )
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=training.lora.rank,
        lora_alpha=training.lora.alpha,
        lora_dropout=training.lora.dropout,
        target_modules="all-linear",
    )
    arguments = SFTConfig(
        output_dir=str(task.folder / "trl"),
        max_steps=steps,
        per_device_train_batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        lr_scheduler_type="constant",
        max_length=training.max_length,
        gradient_checkpointing=False,
        use_cpu=on_cpu,
        bf16=not on_cpu,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    # Every step is a full batch, as the service's: the rows again and again, as many as are seen.
    seen = list(islice(cycle(rows), steps * training.batch_size))
    tokenizer = AutoTokenizer.from_pretrained(task.model, local_files_only=True)
    return SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(seen),
        processing_class=tokenizer,
        peft_config=lora,
    )


def main() -> None:
    task = read_task(Path(sys.argv[1]))
    rows = task.training_rows(read_tries(task, "generated", "rationalized"))
    training = task.config.training
    steps = steps_in(training.schedule, 1, rows=len(rows), batch_size=training.batch_size)
    trainer = make_trainer(task, rows, steps)
    with noted(task, "train") as facts:
        trainer.train()
        facts |= {"rows": len(rows), "steps": steps}
    merged = trainer.model.merge_and_unload()
    merged.save_pretrained(task.folder / MERGED)
    trainer.processing_class.save_pretrained(task.folder / MERGED)


if __name__ == "__main__":
    main()
