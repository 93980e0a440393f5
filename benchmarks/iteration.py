"""A whole STaR iteration by the service against the scripts that a user would glue, on the same questions.

    python -m examples.smollm2.convert
    python -m benchmarks.iteration --rounds 3

What is raced: the service (API, scheduler, worker, Valkey; one job of one iteration over HTTP), its first job
after a start and a later one; B1, four scripts, a process each (benchmarks/baselines/); B1s, the same with
generation and rationalization in one process; B0, vLLM's bare loop; B3, transformers' generate. All take
turns. What a round measured is kept in `--keep`, and rounds are added by calling it again; the document is
written again from all of them. On a GPU: `--device cuda --model PATH --examples 2048`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.baselines.task import DATASET, PROMPT_SET, SETTINGS, Task, read_note, read_task
from benchmarks.iteration_report import write_report
from benchmarks.limits import gemm_flops
from benchmarks.sums import KIND, scratchpad
from benchmarks.whole_platform import platform, run_iteration
from examples.addition.generate import dataset_rows, draw_dataset, draw_prompt_set
from examples.smollm2.convert import MODEL_FOLDER
from star_engine.config.presets import laid_over, star

DIGITS, SHOTS = (1, 2, 3), 3
MAX_TOKENS = 72  # a scratchpad of three digits takes 54
STEPS = 10  # of 8 examples

# What the raced processes import.
STARTED = (
    "benchmarks.baselines.train",
    "vllm.entrypoints.llm",
    "vllm.v1.engine.core",
    "star_engine.gpu.vllm_sampler",
    "star_engine.gpu.training.lora_trainer",
    "worker.tasks",
    "worker.scheduler",
    "app.main",
)

Measured = dict[str, Any]


def write_task(folder: Path, arguments: argparse.Namespace) -> Task:
    """Addition as in benchmarks/sums.py, or what `--data` holds: dataset.jsonl and prompt_set.json."""
    folder.mkdir(parents=True)
    if arguments.data is not None:
        shutil.copy(arguments.data / DATASET, folder)
        shutil.copy(arguments.data / PROMPT_SET, folder)
        kind = json.loads((folder / PROMPT_SET).read_text())["kind"]
    else:
        kind = _write_addition(folder, arguments.examples // len(DIGITS), arguments.held_out // len(DIGITS))
    settings = laid_over(
        star(kind).model_dump(mode="json"),
        {
            "iterations": 1,
            "examples_per_iteration": None,
            "generation": {"max_tokens": arguments.max_tokens},
            "evaluation": {"baselines": []},
            "training": {
                "schedule": {"kind": "linear", "start": STEPS, "add": 0},
                "batch_size": 8,
                "warmup_steps": 0,
            },
        },
    )
    written = {"config": settings, "model": str(arguments.model), "device": arguments.device}
    (folder / SETTINGS).write_text(json.dumps(written))
    return read_task(folder)


def _write_addition(folder: Path, train: int, held_out: int) -> str:
    shown = draw_prompt_set(0, DIGITS, SHOTS)
    rows = dataset_rows(draw_dataset(0, DIGITS, train, held_out, shown))
    (folder / DATASET).write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples = [
        {
            "question": one.question,
            "rationale": scratchpad(one),
            "answer": one.answer,
            "group": str(one.digit_count),
        }
        for one in shown
    ]
    (folder / PROMPT_SET).write_text(json.dumps({"kind": KIND.value, "examples": examples}))
    return KIND.value


def service(task: Task, work: Path) -> Measured:
    """Two jobs on one platform: the first finds no GPU process, the second a warm one."""
    began = time.time()
    with platform(work / "home", task) as running:
        ready = time.time() - began
        cold = run_iteration(running, task, "cold")
        warm = run_iteration(running, task, "warm")
    return {"ready": ready, "cold": asdict(cold), "warm": asdict(warm)}


def glued(task: Task, work: Path, *, together: bool) -> Measured:
    """B1 or B1s: the scripts one after the other, each a process."""
    generate = ["generate", "--rationalize"] if together else ["generate"]
    chain = [generate, *([] if together else [["rationalize"]]), ["train"], ["evaluate"]]
    seconds = {script[0]: _script(task, *script) for script in chain}
    notes = {name: read_note(task.folder, name) for name in seconds}
    return {
        "seconds": sum(seconds.values()),
        "scripts": seconds,
        "notes": notes,
        "start": read_note(task.folder, "start")["seconds"],
    }


def bare_engine(task: Task, work: Path) -> Measured:
    _script(task, "bare_engine")
    lines = (task.folder / "bare_engine.jsonl").read_text().splitlines()
    return read_note(task.folder, "bare_engine") | {"tries": [json.loads(line) for line in lines]}


def padded_batches(task: Task, work: Path) -> Measured:
    _script(task, "padded_batches")
    return read_note(task.folder, "padded_batches")


def limit(task: Task, work: Path) -> Measured:
    return {"flops": gemm_flops(task.device)}


ARMS: dict[str, Callable[[Task, Path], Measured]] = {
    "limit": limit,
    "service": service,
    "B1": lambda task, work: glued(task, work, together=False),
    "B0": bare_engine,
    "B1s": lambda task, work: glued(task, work, together=True),
    "B3": padded_batches,
}


def _script(task: Task, name: str, *options: str) -> float:
    """Seconds that one script of the baselines takes, its process included."""
    command = [sys.executable, "-m", f"benchmarks.baselines.{name}", str(task.folder), *options]
    with (task.folder / f"{name}.log").open("wb") as log:
        began = time.monotonic()
        ended = subprocess.run(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    if ended.returncode:
        sys.exit(f"{name} failed:\n{(task.folder / f'{name}.log').read_text()[-3000:]}")
    return time.monotonic() - began


def run_rounds(arguments: argparse.Namespace) -> None:
    """Every arm once a round, its order turned round every round. What is kept is not run again, so a run
    that was stopped, or asked for some of the arms only, is gone on with by calling it again."""
    rounds = read_rounds(arguments.keep)
    for number in range(arguments.rounds):
        if number == len(rounds):
            rounds.append({})
        arms = [name for name in ARMS if name in arguments.arms and name not in rounds[number]]
        for name in arms if number % 2 == 0 else reversed(arms):
            with tempfile.TemporaryDirectory() as folder:
                task = write_task(Path(folder) / "task", arguments)
                rounds[number][name] = ARMS[name](task, Path(folder))
            arguments.keep.write_text("".join(json.dumps(one) + "\n" for one in rounds))
            print(f"round {number + 1}, {name}: done", file=sys.stderr, flush=True)


def keep_bytecode(folder: Path) -> None:
    """Let every process of the race find its imports compiled, as on any machine where it ran before.

    Without it, where PYTHONDONTWRITEBYTECODE is set or the packages cannot be written to, each start of
    vLLM compiles 3,000 files, which takes 15 s on two cores: the scripts would pay that three times.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder.absolute())
    subprocess.run([sys.executable, "-c", "import " + ", ".join(STARTED)], check=True, capture_output=True)


def read_rounds(keep: Path) -> list[Measured]:
    return [json.loads(line) for line in keep.read_text().splitlines()] if keep.exists() else []


def _command(arguments: argparse.Namespace) -> str:
    """What gives this document; where it lies and what was kept from earlier calls left out."""
    given = f"--rounds {len(read_rounds(arguments.keep))} --device {arguments.device}"
    given += f" --examples {arguments.examples} --held-out {arguments.held_out}"
    given += f" --data {arguments.data.name}" if arguments.data else ""
    return f"python -m benchmarks.iteration {given}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="those kept included; 0: only the document")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=tuple(ARMS))
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--data", type=Path, help="a folder with dataset.jsonl and prompt_set.json")
    parser.add_argument("--examples", type=int, default=60, help="questions to train on, without --data")
    parser.add_argument("--held-out", type=int, default=24)
    parser.add_argument("--max-tokens", type=int, default=MAX_TOKENS)
    parser.add_argument("--keep", type=Path, default=Path(".star/iteration-race.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/iteration.md"))
    arguments = parser.parse_args()
    arguments.keep.parent.mkdir(parents=True, exist_ok=True)
    if arguments.rounds:
        keep_bytecode(arguments.keep.parent / "bytecode")
    run_rounds(arguments)
    with tempfile.TemporaryDirectory() as folder:
        task = write_task(Path(folder) / "task", arguments)
        write_report(arguments.out, task, read_rounds(arguments.keep), _command(arguments))


if __name__ == "__main__":
    main()
