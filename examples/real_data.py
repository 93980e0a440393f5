"""One STaR job on published data with SmolLM2-135M-Instruct, over HTTP: for gsm8k and commonsenseqa."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from examples.platform import ROOT, running_platform
from examples.report import write_report
from star_client.cli.watch import watch_job
from star_client.client import StarClient

MODEL = "SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class Recipe:
    """What distinguishes one data set from another."""

    name: str
    module: str
    kind: str
    dataset_file: str  # in the data folder, as published
    prompts_file: str
    config: Mapping[str, Any]
    notes: str


def main(recipe: Recipe) -> None:
    """Run the recipe from the command line."""
    parser = argparse.ArgumentParser(description=f"STaR on {recipe.name} with {MODEL}.")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("STAR_TEST_DATA"), help="folder of the data"
    )
    parser.add_argument("--model", type=Path, default=ROOT / ".star" / "models" / MODEL)
    parser.add_argument("--sampler", choices=("vllm", "transformers"), default="vllm")
    parser.add_argument("--questions", type=int, default=64, help="to train on, and as many held out")
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    if arguments.data is None:
        sys.exit("Say where the published files are: --data FOLDER, or STAR_TEST_DATA.")
    if not arguments.model.is_dir():
        sys.exit(
            f"There is no model at {arguments.model}. Run: python -m examples.smollm2.convert --out FOLDER"
        )
    _run(recipe, arguments)


def _run(recipe: Recipe, arguments: argparse.Namespace) -> None:
    home = ROOT / ".star" / recipe.name
    home.mkdir(parents=True, exist_ok=True)
    models = home / "models.yaml"
    models.write_text(
        yaml.safe_dump([{"id": MODEL, "location": str(arguments.model.resolve()), "license": "Apache-2.0"}])
    )
    console = Console()
    count = arguments.questions
    with (
        running_platform(
            home, STAR_MODELS_FILE=str(models), STAR_SAMPLER=arguments.sampler, STAR_SHARD_EXAMPLES=str(count)
        ) as url,
        StarClient(url, (home / "api-key").read_text().strip()) as star,
    ):
        rows = home / "questions.jsonl"
        rows.write_bytes(b"".join(_lines(arguments.data / recipe.dataset_file, 2 * count)))
        dataset = star.datasets.upload(rows, kind=recipe.kind, name=recipe.name, validation=count)
        text = (arguments.data / recipe.prompts_file).read_text(encoding="utf-8")
        prompts = star.prompt_sets.create(name=recipe.name, kind=recipe.kind, text=text)
        job = star.jobs.create(
            name=recipe.name, model=MODEL, dataset=dataset.id, prompt_set=prompts.id, config=recipe.config
        )
        job = watch_job(star, job.id, console)
        if job.status != "succeeded":
            sys.exit(f"The job is {job.status}: {job.status_reason}")
        if arguments.report is not None:
            command = (
                f"python -m {recipe.module} --data DATA --questions {count} --sampler {arguments.sampler}"
            )
            title = f"{recipe.name}, {MODEL}, {arguments.sampler}"
            write_report(star, job, arguments.report, title=title, command=command, notes=recipe.notes)
            console.print(f"Report written to {arguments.report}")


def _lines(path: Path, count: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from islice(file, count)
