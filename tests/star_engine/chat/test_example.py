"""The example's job file, read as `python -m star_engine run` reads it."""

from __future__ import annotations

from pathlib import Path

from examples.smollm2.chat import SYSTEM, write_job
from star_engine.job_file import read_job
from star_engine.sampling.rationales import Route, rationale_prompt


def test_the_job_of_the_example_asks_in_the_models_template(
    miniatures: dict[str, Path], tmp_path: Path
) -> None:
    job = read_job(write_job(tmp_path, miniatures["smollm2"], train=6, held_out=4))
    assert (len(job.train), len(job.held_out), len(job.prompt_set.examples)) == (6, 4, 3)
    assert job.config.chat.template_sha256 is not None
    prompt = rationale_prompt(job.config, job.prompt_set, job.train[0], Route.GENERATED, 1)
    assert prompt.startswith(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\nJoe has 2 eggs")
    assert prompt.endswith(f"user\n{job.train[0].question}<|im_end|>\n<|im_start|>assistant\n")
