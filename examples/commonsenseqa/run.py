"""STaR on CommonsenseQA (section 4.4 of the paper) with a small real model.

    python -m examples.commonsenseqa.run --data FOLDER --report docs/runs/commonsenseqa.md

FOLDER holds commonsenseqa_train.jsonl as published (train_rand_split.jsonl) and commonsenseqa_prompts.txt,
the few-shot prompt of the paper's authors (github.com/ezelikman/STaR).
"""

from __future__ import annotations

from examples.real_data import Recipe, main

RECIPE = Recipe(
    name="commonsenseqa",
    module="examples.commonsenseqa.run",
    kind="choice",
    dataset_file="commonsenseqa_train.jsonl",
    prompts_file="commonsenseqa_prompts.txt",
    config={
        "iterations": 2,
        "generation": {"max_tokens": 64},
        # The preset trains behind the few-shot examples, as the paper does: 590 more tokens a row on a CPU.
        "training_set": {"few_shot_in_prompt": False},
        "training": {
            "schedule": {"kind": "geometric", "start": 6, "factor": 1.2},
            "batch_size": 4,
            "warmup_steps": 0,
            "learning_rate": 2e-4,
            "max_length": 512,
        },
    },
    notes="The first rows of the train split, half to train on, half held out. Guessing gives 20 %, "
    "and a model of 135 M parameters is near it: the point of this run is that the whole path is real.",
)

if __name__ == "__main__":
    main(RECIPE)
