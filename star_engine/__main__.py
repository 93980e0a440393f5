"""python -m star_engine run job.yaml runs a whole STaR job in one process, without the service.

python -m star_engine judge rows.jsonl: what a job would make of texts, row by row.
python -m star_engine quiet-star job.yaml: trains a model to think between the tokens of documents.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from star_engine.adapters.layout import BaseModel
from star_engine.diagnostics.token_parity import TokenMismatch
from star_engine.job_file import BadJob, Job, JobFile, read_job
from star_engine.load import load_model
from star_engine.protocols import BadAdapter, Sampler, Trainer
from star_engine.quiet_job import read_quiet_job
from star_engine.run import Event, run_star
from star_engine.run_directory import OtherRun
from star_engine.training_set.judgement import Judgement, judge_lines
from star_engine.training_set.rows import HintLeak

_OK, _FAILED, _BAD_INPUT, _PAUSED = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 ended, 1 failed, 2 the job file or data cannot be used, 3 paused."""
    parser = argparse.ArgumentParser(prog="python -m star_engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does in (("run", "run a job, or go on with it"), ("check", "read and check a job's files")):
        command = commands.add_parser(name, help=does)
        command.add_argument("job", type=Path, help="YAML file; see star_engine/job_file.py")
    command = commands.add_parser("judge", help="say what a job would make of texts, as JSON lines")
    command.add_argument(
        "rows", help="JSONL (kind, completion, answer ...) or a JSON array; -: standard input"
    )
    command = commands.add_parser("quiet-star", help="train a model to think between tokens")
    command.add_argument("job", type=Path, help="YAML file; see star_engine/quiet_job.py")
    chosen = parser.parse_args(arguments)
    if chosen.command == "judge":
        return _judge(chosen.rows)
    if chosen.command == "quiet-star":
        return _think(chosen.job)
    try:
        job = read_job(chosen.job)
        print(f"{len(job.train)} examples to train on, {len(job.held_out)} held out.")
        return _OK if chosen.command == "check" else _run(job)
    except (BadJob, OtherRun) as problem:
        print(problem, file=sys.stderr)
        return _BAD_INPUT
    except (BadAdapter, HintLeak, TokenMismatch) as problem:
        print(problem, file=sys.stderr)
        return _FAILED


def _think(path: Path) -> int:
    """Run Quiet-STaR and print what thoughts are worth on held-out documents."""
    try:
        job = read_quiet_job(path)
        from star_engine.gpu.quiet_star.run import run_quiet_star

        worth = run_quiet_star(job, lambda step: print(f"step {step.step} of {step.steps}", flush=True))
    except (BadAdapter, FloatingPointError) as problem:
        print(problem, file=sys.stderr)
        return _FAILED
    except (ValueError, OSError) as problem:  # BadJob and BadRows are such
        print(problem, file=sys.stderr)
        return _BAD_INPUT
    without, mixed = worth.without[0], worth.mixed[0]
    print(f"Negative log-likelihood of a held-out token: {without:.4f} nats, {mixed:.4f} with thoughts.")
    return _OK


def _judge(name: str) -> int:
    """Print one line of JSON per row; rows that cannot be judged are also reported on stderr."""
    try:
        judgements = judge_lines(_lines(name))
        told = [_tell(judgement) for judgement in judgements]
    except (OSError, ValueError) as problem:
        print(f"{name}: {problem}", file=sys.stderr)
        return _BAD_INPUT
    return _OK if all(told) else _BAD_INPUT


def _lines(name: str) -> Iterator[str | bytes]:
    """The lines of a file, or the elements of its JSON array. ValueError for an array that is no JSON."""
    with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
        first = file.readline()
        if first.lstrip().startswith(b"["):
            yield from map(json.dumps, json.loads(first + file.read()))
        else:
            yield first
            yield from file


def _tell(judgement: Judgement) -> bool:
    """Print one judgement. Returns whether the row could be judged."""
    print(json.dumps(judgement.to_json(), ensure_ascii=False), flush=True)
    for error in judgement.errors:
        print(error, file=sys.stderr)
    return not judgement.errors


def _run(job: Job) -> int:
    file = job.file
    training = job.config.training
    sampler, trainer = load(file, training.lora.rank, training.quantization)
    base = BaseModel(file.base_model_name or file.base_model.name, file.base_model_revision)
    events = run_star(
        job.config,
        job.train,
        job.held_out,
        job.prompt_set,
        sampler,
        trainer,
        file.output,
        base=base,
        licence=file.licence,
        also=job.also,
        mixed=job.mixed,
    )
    try:
        return _show(events)
    finally:
        sampler.close()


def load(file: JobFile, rank: int, quantization: Literal["nf4"] | None = None) -> tuple[Sampler, Trainer]:
    """The sampler and the trainer of a job."""
    return load_model(
        file.base_model,
        sampler=file.sampler,
        device=file.device,
        rank=rank,
        gpu_memory_utilization=file.gpu_memory_utilization,
        quantization=quantization,
    )


def _show(events: Iterable[Event]) -> int:
    event = None
    for event in events:
        if event.name == "progress":
            if sys.stdout.isatty():
                print(f"\r{_where(event)}: {_facts(event)}\x1b[K", end="", flush=True)
        elif event.name == "phase_finished":
            clear = "\r\x1b[K" if sys.stdout.isatty() else ""
            print(f"{clear}{_where(event)}: {_facts(event)}", flush=True)
    if event is None or event.name == "phase_started":
        return _FAILED
    print(f"{event.name}: {event.facts['reason']}")
    if event.name == "paused":
        print(event.facts["diagnosis"])
        return _PAUSED
    return _OK


def _where(event: Event) -> str:
    return f"iteration {event.iteration}, {event.phase}"


def _facts(event: Event) -> str:
    """The short facts: nested ones are in the directory."""
    told = {name: value for name, value in event.facts.items() if name != "diagnosis"}  # printed at the end
    short = {name: value for name, value in told.items() if not isinstance(value, dict)}
    rounded = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in short.items()}
    return ", ".join(f"{name} {value}" for name, value in rounded.items() if value is not None)


if __name__ == "__main__":
    sys.exit(main())
