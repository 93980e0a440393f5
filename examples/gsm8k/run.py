"""STaR on GSM8K (section 4.5 of the paper) with a small real model.

    python -m examples.gsm8k.run --data FOLDER --report docs/runs/gsm8k.md

FOLDER holds gsm8k_train.jsonl as published (github.com/openai/grade-school-math) and gsm8k_prompts.txt, a
few-shot prompt in its "Q: ... A: ... #### n" format.
"""

from __future__ import annotations

from examples.real_data import Recipe, main

RECIPE = Recipe(
    name="gsm8k",
    module="examples.gsm8k.run",
    kind="numeric",
    dataset_file="gsm8k_train.jsonl",
    prompts_file="gsm8k_prompts.txt",
    config={
        "iterations": 2,
        "generation": {"max_tokens": 160},
        "training": {
            "schedule": {"kind": "geometric", "start": 8, "factor": 1.2},
            "batch_size": 8,
            "warmup_steps": 0,
            "learning_rate": 2e-4,
            "max_length": 768,
        },
    },
    notes="The first rows of the train split, half to train on, half held out. A model of 135 M parameters "
    "solves next to none of them: the point of this run is that the whole path is real.",
)

if __name__ == "__main__":
    main(RECIPE)
