"""One run of Quiet-STaR: reads documents, trains, and measures what thoughts are worth on held-out ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch

from star_engine.adapters.layout import write_durably
from star_engine.data.documents import held_out_documents, read_documents, windows
from star_engine.gpu.causal_lm import eos_ids, load_tokenizer, prompt_ids
from star_engine.gpu.quiet_star.files import load_quiet_adapter
from star_engine.gpu.quiet_star.measuring import measure
from star_engine.gpu.quiet_star.thinking import Thinker
from star_engine.gpu.quiet_star.trainer import QuietTrainer
from star_engine.job_file import BadJob
from star_engine.quiet_job import QuietJob
from star_engine.thoughts import QuietStep, Worth

ADAPTER = "adapter"
STEPS = "steps.jsonl"
RESULT = "result.json"


def run_quiet_star(job: QuietJob, told: Callable[[QuietStep], None] = lambda step: None) -> Worth:
    """Write `adapter`, the steps and the result to the job's output. Goes on with a run that was stopped.

    Raises BadRows for documents, and BadJob where they are too few for the job.
    """
    tokenizer = load_tokenizer(job.base_model)
    train, held_out = held_out_documents(read_documents(job.documents), job.held_out, job.seed)
    separator = eos_ids(job.base_model, tokenizer)[0]

    def cut(documents: list[str]) -> Iterator[list[int]]:
        return windows(prompt_ids(tokenizer, documents), job.settings.window, separator)

    unseen = list(cut(held_out))[: job.held_out_windows]
    if not unseen:
        raise BadJob(
            f"The {len(held_out)} held-out documents fill no window of {job.settings.window} tokens: raise "
            "held_out, lower settings.window, or give more documents."
        )
    trainer = QuietTrainer(job.base_model, device=job.device)
    trained = trainer.train(
        list(cut(train)),
        job.settings,
        steps=job.steps,
        seed=job.seed,
        out=job.output / ADAPTER,
        checkpoints=job.output / "checkpoints",
    )
    steps = _recorded(job, trained, told)
    model, head, settings = load_quiet_adapter(trainer.base, job.output / ADAPTER)
    worth = measure(
        Thinker(model, head, settings),
        torch.tensor(unseen, device=job.device),
        trainer.banned,
        seed=job.seed,
        decode=tokenizer.decode,
    )
    facts = {"job": job.model_dump(mode="json"), "steps": len(steps), "gain": worth.gain, **asdict(worth)}
    write_durably(job.output / RESULT, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return worth


def _recorded(
    job: QuietJob, trained: Iterator[QuietStep], told: Callable[[QuietStep], None]
) -> list[dict[str, Any]]:
    """Write every step to the output; those of a run that was stopped are kept up to where it goes on."""
    path = job.output / STEPS
    job.output.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    steps: list[dict[str, Any]] = []
    for step in trained:
        if not steps:
            steps = [one for one in map(json.loads, lines) if one["step"] < step.step]
            write_durably(path, "".join(json.dumps(one) + "\n" for one in steps))
        steps.append(asdict(step))
        with path.open("a") as file:
            file.write(json.dumps(steps[-1]) + "\n")
        told(step)
    return steps
