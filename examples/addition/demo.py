"""`make demo`: STaR and what it has to beat, as four jobs over HTTP, the results shown and checked.

    python -m examples.addition.demo [--home .star/demo] [--alone]

Starts the embedded platform, uploads the addition task, runs the jobs; status 0 only if every check held.
Interrupted, it stops what it started; started again, it goes on with the jobs where they were.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.addition import outcome
from examples.addition.arms import (
    DIRECT,
    GOLD,
    HELD_OUT,
    PRESET,
    STAR,
    TRAIN,
    WITHOUT,
    Budget,
    changes,
)
from examples.addition.generate import write_task
from examples.platform import ROOT, running_platform
from star_client.cli.watch import watch_job
from star_client.client import StarClient
from star_client.errors import StarError
from star_client.objects import Job

MODEL = "addition-tiny"
BUDGET = Budget(iterations=2, steps=200, questions=None)
ARMS = (STAR, WITHOUT, DIRECT, GOLD)  # few-shot is the first one's baseline


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the addition jobs on an embedded platform.")
    parser.add_argument("--home", type=Path, default=Path(".star") / "demo")
    parser.add_argument("--alone", action="store_true", help="the STaR job without those beside it")
    arguments = parser.parse_args()
    console = Console()
    began = time.monotonic()
    try:
        with platform(arguments.home) as url:
            key = (arguments.home / "api-key").read_text().strip()
            with StarClient(url, key) as star:
                console.print(f"The platform runs at {url}; its log is {arguments.home}/logs.")
                jobs = run_jobs(star, console, arguments.home, ARMS[: 1 if arguments.alone else None])
                problems = list(outcome.show(star, jobs, console, arguments.home, ROOT))
    except KeyboardInterrupt:
        console.print("Stopped. Run it again to go on with the same jobs.")
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


def run_jobs(star: StarClient, console: Console, home: Path, arms: Sequence[str]) -> Mapping[str, Job]:
    """Submit a job for each arm, or find the unfinished one of an earlier run; watch each to its end."""
    dataset_file, prompt_file = write_task(home / "task", train=TRAIN, validation=HELD_OUT, solutions=True)
    prompts = json.loads(prompt_file.read_text(encoding="utf-8"))
    dataset = star.datasets.upload(dataset_file, kind="scratchpad", name="addition, 1 to 4 digits")
    prompt_set = star.prompt_sets.create(name="addition", kind="scratchpad", examples=prompts["examples"])
    submitted = {
        arm: _submit(star, console, arm, dataset.id, prompt_set.id, priority)
        for priority, arm in zip(
            reversed(range(len(arms))), arms, strict=True
        )  # the first one is watched live
    }
    return {arm: watch_job(star, job.id, console) for arm, job in submitted.items()}


def _submit(
    star: StarClient, console: Console, arm: str, dataset: str, prompt_set: str, priority: int
) -> Job:
    config = changes(arm, BUDGET)
    name = f"addition, {arm}"
    job = next(_unfinished(star, name, dataset, prompt_set, config), None)
    if job is None:
        return star.jobs.create(
            name=name,
            model=MODEL,
            dataset=dataset,
            prompt_set=prompt_set,
            preset=PRESET[arm],
            config=config,
            priority=priority,
            metadata={"settings": _fingerprint(config)},
        )
    console.print(f"Going on with {job.id}, which an earlier run left {job.status}.")
    if job.status == "paused":
        star.jobs.resume(job.id)
    return job


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
