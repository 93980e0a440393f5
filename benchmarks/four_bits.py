"""What QLoRA costs: one training over the plain base model and over the same in 4 bits, on the same rows.

    python -m examples.smollm2.convert
    python -m benchmarks.four_bits [--model PATH] [--steps 40] [--device cpu]

Prints JSON: seconds a step, bytes of the weights that are held, and the loss on rows that were not trained
on: over the form of the base model that the adapter was trained over, and as it is served, on the plain one.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from examples.smollm2.convert import MODEL_FOLDER
from star_engine.config.lora import Lora
from star_engine.config.schedules import FixedSchedule
from star_engine.config.star import Training
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.protocols import Score, ScoreRequest, TrainingJob, TrainingText

HELD_OUT = 24


def rows(count: int, seed: int) -> list[TrainingText]:
    """Additions worked out digit by digit."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        a, b = rng.randint(10, 999), rng.randint(10, 999)
        low, carry = (a % 10 + b % 10) % 10, (a % 10 + b % 10) // 10
        worked = f" units {a % 10} + {b % 10} = {low}, carry {carry}; tens {a // 10} + {b // 10} + {carry}"
        found.append(TrainingText(f"Q: {a} + {b}\nA:", f"{worked} = {a // 10 + b // 10 + carry}. {a + b}"))
    return found


def loss(scores: list[Score]) -> float:
    """Nats a token."""
    found = [-value for score in scores for value in score.logprobs]
    return round(sum(found) / len(found), 4)


def measured(
    arguments: argparse.Namespace, quantization: Literal["nf4"] | None, plain: LoraTrainer
) -> dict[str, Any]:
    trainer = (
        plain
        if quantization is None
        else LoraTrainer(arguments.model, device=arguments.device, quantization=quantization)
    )
    asked = [ScoreRequest(str(n), row) for n, row in enumerate(rows(HELD_OUT, seed=1))]
    training = Training(
        schedule=FixedSchedule(steps=arguments.steps),
        batch_size=8,
        learning_rate=2e-4,
        lora=Lora(rank=16, alpha=32),
        quantization=quantization,
    )
    with TemporaryDirectory() as folder:
        out = Path(folder, "adapter")
        job = TrainingJob(tuple(rows(256, seed=0)), training, arguments.steps, 0, out, Path(folder, "points"))
        before, times, began = loss(trainer.score_trained(None, asked)), [], time.perf_counter()
        for _ in trainer.train(job):
            times.append(time.perf_counter() - began)
            began = time.perf_counter()
        return {
            "seconds_a_step": round(sorted(times)[len(times) // 2], 3),
            "held_bytes": sum(weight.nbytes for weight in trainer._base.parameters()),  # noqa: SLF001
            "loss_before": before,
            "loss_over_its_own_base": loss(trainer.score_trained(out, asked)),
            "loss_on_the_plain_base": loss(plain.score_trained(out, asked)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    plain = LoraTrainer(arguments.model, device=arguments.device)
    found = {"lora": measured(arguments, None, plain), "qlora": measured(arguments, "nf4", plain)}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
