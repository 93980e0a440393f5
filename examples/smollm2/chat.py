"""STaR on a chat model in its own template: SmolLM2-135M-Instruct learns from its answers to small sums.

    python -m examples.smollm2.convert --out .star/models/SmolLM2-135M-Instruct
    python -m examples.smollm2.chat --model .star/models/SmolLM2-135M-Instruct --out chat-run

The questions are drawn here, the run is `python -m star_engine run` on the job file that is written beside
them. SmolLM2 solves nearly all of these sums behind worked examples: the run shows the layout, not a gain.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

import yaml

from examples.smollm2.convert import MODEL_FOLDER
from star_engine.__main__ import main as run_engine

SYSTEM = "You solve small problems. End with: The answer is N."
NAMES = ("Ann", "Tom", "Mia", "Ben", "Eva", "Sam", "Lea", "Max")
THINGS = ("pens", "cups", "books", "coins", "apples", "stamps")
SHOWN = (("Joe", 2, 3, "eggs"), ("Kim", 7, 5, "cards"), ("Pia", 4, 4, "shells"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--out", type=Path, default=Path("chat-run"))
    parser.add_argument("--train", type=int, default=48)
    parser.add_argument("--held-out", type=int, default=24)
    chosen = parser.parse_args()
    job = write_job(chosen.out, chosen.model, chosen.train, chosen.held_out)
    sys.exit(run_engine(["run", str(job)]))


def write_job(folder: Path, model: Path, train: int, held_out: int) -> Path:
    """Write questions, few-shot conversation and job file; returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = _questions(train + held_out)
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    shown = {"kind": "numeric", "messages": [turn for one in SHOWN for turn in _worked(*one)]}
    (folder / "prompt_set.json").write_text(json.dumps(shown, indent=2))
    job = {
        "dataset": "questions.jsonl",
        "prompt_set": "prompt_set.json",
        "base_model": str(model.resolve()),
        "base_model_name": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "licence": "apache-2.0",
        "output": "run",
        "held_out": held_out,
        "config": {
            "kind": "numeric",
            "layout": "chat",
            "chat": {"system": SYSTEM},
            "iterations": 1,
            "generation": {"max_tokens": 64, "few_shot": "first_iteration"},
            "training": {
                "schedule": {"kind": "epochs", "epochs": 2},
                "learning_rate": 5e-4,
                "max_length": 512,
            },
        },
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job, sort_keys=False))
    return folder / "job.yaml"


def _questions(count: int) -> list[dict[str, Any]]:
    """Rows as conversations, each question once."""
    rng, rows = random.Random(1), dict[str, dict[str, Any]]()
    while len(rows) < count:
        a, b = rng.randint(1, 9), rng.randint(1, 9)
        asked = _question(rng.choice(NAMES), a, b, rng.choice(THINGS))
        rows[asked] = {"messages": [{"role": "user", "content": asked}], "answer": a + b}
    return list(rows.values())


def _question(name: str, a: int, b: int, things: str) -> str:
    return f"{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?"


def _worked(name: str, a: int, b: int, things: str) -> list[dict[str, str]]:
    said = f"{name} has {a} {things} and gets {b} more, so {name} has {a} + {b} = {a + b} {things} now."
    return [
        {"role": "user", "content": _question(name, a, b, things)},
        {"role": "assistant", "content": f"{said} The answer is {a + b}."},
    ]


if __name__ == "__main__":
    main()
