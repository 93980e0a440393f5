"""B3: transformers' `generate` on batches of 8, padded on the left, as the paper's code samples.

    python -m benchmarks.baselines.padded_batches FOLDER

As there, every batch computes its few-shot prefix again and runs until its last row has ended or the limit is
reached; no stop strings. (That code itself runs on TPUs only.) The first 16 questions are asked.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.baselines.task import noted, read_task
from star_engine.sampling.rationales import Route

BATCH, QUESTIONS = 8, 16


def main() -> None:
    task = read_task(Path(sys.argv[1]))
    on_cpu = task.device == "cpu"
    tokenizer = AutoTokenizer.from_pretrained(task.model, padding_side="left", local_files_only=True)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(
        task.model, dtype=torch.float32 if on_cpu else torch.bfloat16, local_files_only=True
    ).to(task.device)
    prompts = [task.prompt(example, Route.GENERATED) for example in task.train[:QUESTIONS]]
    with noted(task, "padded_batches") as facts, torch.inference_mode():
        for start in range(0, len(prompts), BATCH):
            batch = tokenizer(prompts[start : start + BATCH], return_tensors="pt", padding=True)
            model.generate(**batch.to(task.device), max_new_tokens=task.params.max_tokens, do_sample=False)
        facts["questions"] = len(prompts)


if __name__ == "__main__":
    main()
