"""`make demo`: one STaR job over HTTP, watched live, its result shown and checked.

    python -m examples.addition.demo [--home .star/demo] [--no-rationalization]

Starts the embedded platform, uploads the addition task, runs the job; status 0 only if every check held.
Interrupted, it stops what it started; started again, it goes on with the job where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.addition import outcome
from examples.addition.generate import write_task
from examples.platform import ROOT, running_platform
from star_client.cli.watch import watch_job
from star_client.client import StarClient
from star_client.errors import StarError
from star_client.objects import Job

MODEL = "addition-tiny"
# Found by trying: docs/runs/addition.md has the curves. Retrains from the base model in every iteration.
CONFIG: dict[str, Any] = {
    "iterations": 3,
    "examples_per_iteration": 400,
    "generation": {"max_tokens": 96, "few_shot": "first_iteration"},
    "training": {
        "schedule": {"kind": "geometric", "start": 20, "factor": 1.2},
        "batch_size": 16,
        "learning_rate": 1e-3,
        "warmup_steps": 2,
        "lora": {"rank": 32, "alpha": 64},
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the addition job on an embedded platform.")
    parser.add_argument("--home", type=Path, default=Path(".star") / "demo")
    parser.add_argument("--no-rationalization", action="store_true", help="the same budget without hints")
    arguments = parser.parse_args()
    console = Console()
    began = time.monotonic()
    try:
        with platform(arguments.home) as url:
            key = (arguments.home / "api-key").read_text().strip()
            with StarClient(url, key) as star:
                console.print(f"The platform runs at {url}; its log is {arguments.home}/logs.")
                job = run_job(star, console, arguments.home, rationalization=not arguments.no_rationalization)
                problems = list(outcome.show(star, job, console, arguments.home, ROOT))
    except KeyboardInterrupt:
        console.print("Stopped. Run it again to go on with the same job.")
        sys.exit(130)
    except StarError as error:
        sys.exit(f"The platform refused: {error}")
    for problem in problems:
        console.print(f"[red]Not as it should be:[/red] {problem}")
    console.print(f"Done in {time.monotonic() - began:.0f} s. To open it in a browser:")
    console.print(f"  STAR_HOME={shlex.quote(str(arguments.home))} star serve", soft_wrap=True)
    sys.exit(1 if problems else 0)


def platform(home: Path) -> Any:
    """The platform with settings for two cores and a tiny model."""
    return running_platform(
        home,
        STAR_MODELS_FILE=str(ROOT / "examples" / "models.yaml"),
        STAR_SAMPLER="transformers",
        STAR_THREADS="2",
        STAR_SAMPLER_BATCH="128",
        STAR_SHARD_EXAMPLES="400",  # one worker: more shards would only be more starts
    )


def run_job(star: StarClient, console: Console, home: Path, *, rationalization: bool) -> Job:
    """Submit the job, or find the unfinished one of an earlier run, and watch it to its end."""
    config = {**CONFIG, "rationalization": {"enabled": rationalization, "few_shot": "first_iteration"}}
    name = "addition" if rationalization else "addition without rationalization"
    dataset_file, prompt_file = write_task(home / "task", train=600, validation=200)
    prompts = json.loads(prompt_file.read_text(encoding="utf-8"))
    dataset = star.datasets.upload(dataset_file, kind="scratchpad", name="addition, 1 to 4 digits")
    prompt_set = star.prompt_sets.create(name="addition", kind="scratchpad", examples=prompts["examples"])
    job = next(_unfinished(star, name, dataset.id, prompt_set.id, config), None)
    if job is None:
        job = star.jobs.create(
            name=name,
            model=MODEL,
            dataset=dataset.id,
            prompt_set=prompt_set.id,
            config=config,
            metadata={"settings": _fingerprint(config)},
        )
    else:
        console.print(f"Going on with {job.id}, which an earlier run left {job.status}.")
    if job.status == "paused":
        star.jobs.resume(job.id)
    return watch_job(star, job.id, console)


def _unfinished(
    star: StarClient, name: str, dataset: str, prompt_set: str, config: dict[str, Any]
) -> Iterator[Job]:
    for job in star.jobs.list(limit=100).data:
        same = (job.name, job.dataset, job.prompt_set) == (name, dataset, prompt_set)
        if same and not job.is_terminal and job.metadata.get("settings") == _fingerprint(config):
            yield job


def _fingerprint(config: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
