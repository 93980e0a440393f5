"""lm-eval's multiple choice against the platform: the answers that it finds likeliest are the engine's own.

    python -m examples.smollm2.convert
    python -m examples.smollm2.multiple_choice --lm-eval VENV/bin/lm_eval [--serving vllm]

SmolLM2-135M-Instruct is served, and lm-eval (with transformers for the tokenizer, in an environment of its
own) asks /v1/completions for the log-probability of each choice, by `echo` and `logprobs`. The same choices
are scored by star_engine's own scorer. Status 0 if every question gets the same choice from both.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from examples.platform import ROOT, running_platform
from examples.smollm2.convert import MODEL_FOLDER
from star_engine.load import load_model
from star_engine.protocols import ScoreRequest, TrainingText

MODEL = "SmolLM2-135M-Instruct"
TASK = """task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{right}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""


@dataclass(frozen=True)
class Question:
    question: str
    choices: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class Scored:
    """The log-probability of each choice of each question."""

    totals: Sequence[Sequence[float]]

    def chosen(self) -> list[int]:
        return [max(range(len(one)), key=one.__getitem__) for one in self.totals]

    def right(self, questions: Sequence[Question]) -> int:
        return sum(found == one.right for found, one in zip(self.chosen(), questions, strict=True))


def questions(count: int, seed: int = 0) -> list[Question]:
    """Sums of one and two digits behind two worked ones, each with four choices."""
    source = random.Random(seed)
    shown = "Q: What is 2 + 3?\nA: 5\n\nQ: What is 20 + 14?\nA: 34\n\n"
    drawn = []
    for _ in range(count):
        one, other = source.randint(2, 60), source.randint(2, 30)
        near = source.sample([-20, -11, -10, -2, -1, 1, 2, 10, 11, 20], 3)
        choices = [one + other, *(one + other + by for by in near)]
        source.shuffle(choices)
        asked = f"{shown}Q: What is {one} + {other}?\nA:"
        drawn.append(Question(asked, tuple(map(str, choices)), choices.index(one + other)))
    return drawn


def by_engine(model: Path, asked: Sequence[Question]) -> Scored:
    """What star_engine's scorer says of the choices, without an end behind them."""
    scorer, _ = load_model(model)
    requests = [
        ScoreRequest(f"{at}/{number}", TrainingText(one.question, f" {choice}"), eos=False)
        for at, one in enumerate(asked)
        for number, choice in enumerate(one.choices)
    ]
    found = {score.key: score.total for score in scorer.score(requests)}
    return Scored([[found[f"{at}/{n}"] for n in range(len(one.choices))] for at, one in enumerate(asked)])


def by_lm_eval(command: Path, url: str, key: str, model: Path, folder: Path) -> tuple[Scored, float]:
    """What lm-eval read of the platform's answers, and the accuracy that it reports."""
    place = folder / "lm-eval"
    place.mkdir(parents=True, exist_ok=True)
    (place / "sums.yaml").write_text(TASK.replace("FILE", str(folder / "questions.jsonl")))
    arguments = f"base_url={url}/v1/completions,model={MODEL},tokenizer={model.resolve()}"
    asked = ["--model", "local-completions", "--model_args", f"{arguments},num_concurrent=4,timeout=900"]
    asked += ["--tasks", "sums", "--include_path", str(place), "--batch_size", "8", "--log_samples"]
    own = {"OPENAI_API_KEY": key, "HF_HUB_OFFLINE": "1"}
    subprocess.run([command, "run", *asked, "--output_path", str(place)], check=True, env=os.environ | own)
    samples = [json.loads(line) for line in _newest(place, "samples_*.jsonl").read_text().splitlines()]
    samples.sort(key=lambda one: int(one["doc_id"]))
    totals = [[float(choice[0]) for choice in one["filtered_resps"]] for one in samples]
    told = json.loads(_newest(place, "results_*.json").read_text())["results"]["sums"]["acc,none"]
    return Scored(totals), float(told)


def _newest(folder: Path, pattern: str) -> Path:
    return max(folder.rglob(pattern), key=lambda path: path.stat().st_mtime)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--home", type=Path, default=ROOT / ".star" / "smollm2-choice")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--serving", choices=["transformers", "vllm"], default="transformers")
    parser.add_argument(
        "--lm-eval", type=Path, required=True, help="its command, in an environment of its own"
    )
    chosen = parser.parse_args()
    home: Path = chosen.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    asked = questions(chosen.questions)
    rows: list[dict[str, Any]] = [
        {"question": one.question, "choices": one.choices, "right": one.right} for one in asked
    ]
    (home / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = home / "models.yaml"
    models.write_text(json.dumps([{"id": MODEL, "location": str(chosen.model.resolve())}]))
    settings = {
        "STAR_MODELS_FILE": str(models),
        "STAR_SAMPLER": "transformers",
        "STAR_SERVING": chosen.serving,
    }
    with running_platform(home, **settings) as url:
        key = (home / "api-key").read_text().strip()
        served, told = by_lm_eval(chosen.lm_eval, url, key, chosen.model, home)
    own = by_engine(chosen.model, asked)
    pairs = zip(chain(*served.totals), chain(*own.totals), strict=True)
    print(f"star_engine: {own.right(asked)} of {len(asked)} right")
    print(f"lm-eval: {served.right(asked)} of {len(asked)} right, and reports {told:.4f}")
    print(f"largest difference of a choice: {max(abs(one - other) for one, other in pairs):.5f} nats")
    sys.exit(served.chosen() != own.chosen() or round(told * len(asked)) != own.right(asked))


if __name__ == "__main__":
    main()
