"""What a job costs where it has 1k, 3k or 10k questions, and in its 30th iteration against its first ones.

    python -m benchmarks.growth [--database sqlite] [--questions 1000 3000 10000] [--iterations 30]
    python -m benchmarks.growth --model examples/carry/model

writes docs/benchmarks/growth.md, or growth-model.md. Real worker, real ledger, real GPU process; in it a
scripted sampler, so that what is left is what the platform adds, or a model that generates and is trained.
Costs are processor time of worker, GPU process and database, which other people's work on the machine does
not stretch.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from sqlalchemy import insert

from app.database import new_id, transaction
from app.ledger.queue.capacity import saw_worker
from app.ledger.queue.steps import claim_step
from app.tables.data import Dataset, Example
from benchmarks.http_api import database_version
from benchmarks.ledger_world import LEASE_SECONDS, cpu_seconds, new_world
from benchmarks.measuring import machine, median_and_range, notes_beside, significant, table
from tests.databases import PROJECT
from tests.factories import World, problem, spaced, total
from worker.context import WorkerContext
from worker.shared_calls import work_on

PAGES = PROJECT / "docs" / "benchmarks"
HELD_OUT = 100
EXPONENT = (0.95, 1.05)
DRIFT = 0.05
GROWTH_MIB = 16
WARM_UP = 20  # questions
WORKER = "worker:1"
TURNS = 10  # iterations compared, early and late
Costs = dict[str, float]  # CPU seconds by phase
CONFIG: dict[str, Any] = {
    "generation": {"max_tokens": 200},
    "evaluation": {"baselines": ()},
    "audits": {"spark_level": None},
    "training": {"schedule": {"kind": "linear", "start": 10, "add": 0}, "batch_size": 4},
}
MODEL_SETTINGS: dict[str, Any] = {"sampler": "transformers", "threads": 2, "sampler_batch": 128}
MODEL_CONTEXT = 1024  # tokens
# A model that learned would have less to rationalize every time: at this rate each iteration asks the same.
MODEL_CONFIG: dict[str, Any] = {
    **CONFIG,
    "generation": {"max_tokens": 96},
    "training": {
        "schedule": {"kind": "linear", "start": 20, "add": 0},
        "batch_size": 16,
        "learning_rate": 1e-9,
        "lora": {"rank": 32, "alpha": 64},
    },
}


@dataclass(frozen=True)
class Load:
    """What jobs are measured: of the scripted sampler, or of this model."""

    database: str
    model: Path | None

    @contextmanager
    def world(self) -> Iterator[World]:
        settings = {} if self.model is None else MODEL_SETTINGS
        with new_world(self.database, shard_examples=500, **settings) as world:
            if self.model is not None:
                world.load_model(self.model, MODEL_CONTEXT)
            yield world

    @property
    def config(self) -> dict[str, Any]:
        return CONFIG if self.model is None else MODEL_CONFIG


def with_additions(world: World, train: int) -> World:
    """The same world with so many problems of 4 digits; the scripted sampler can do few by itself."""
    dataset_id = new_id("ds")
    splits = {"train": train, "validation": HELD_OUT}
    rows = []
    for split, count in splits.items():
        for position in range(count):
            a, b = problem(position + (0 if split == "train" else train), 4)
            rows.append(
                {
                    "dataset_id": dataset_id,
                    "split": split,
                    "position": position,
                    "external_id": f"{split}-{position}",
                    "question": f"{spaced(a)} + {spaced(b)}",
                    "answer": total(a, b),
                    "group": "4",
                }
            )
    with transaction(world.engine) as session:
        small = session.get_one(Dataset, world.dataset_id)
        dataset = Dataset(
            id=dataset_id,
            project_id=small.project_id,
            name="additions",
            kind=small.kind,
            sha256=dataset_id,
            size_bytes=0,
            splits=splits,
        )
        session.add(dataset)
        session.flush()
        session.execute(insert(Example), rows)
    return replace(world, dataset_id=dataset_id)


def spent(world: World) -> float:
    """CPU seconds so far of this process, the database's, and the GPU process below this one."""
    children = [child.cpu_times() for child in psutil.Process().children(recursive=True) if _is_gpu(child)]
    return cpu_seconds(world) + sum(one.user + one.system for one in children)


def _is_gpu(process: psutil.Process) -> bool:
    return "worker.gpu.child" in " ".join(process.cmdline())


def iterations(world: World, config: dict[str, Any], questions: int, count: int) -> Iterator[Costs]:
    """CPU seconds by phase of one job's iterations, done step by step in this process; a small job warms all
    up. What happens between two of them is not counted."""
    large = with_additions(world, questions)
    bench = large.worker_context(WORKER)
    with transaction(large.engine) as session:
        saw_worker(session, WORKER)
    try:
        with_additions(world, WARM_UP).submit(iterations=1, **config)
        list(work_off(large, bench))
        job_id = large.submit(iterations=count, **config)
        yield from work_off(large, bench)
    finally:
        bench.drop_gpu()
    assert large.job(job_id).status == "succeeded", large.job(job_id).status_reason


def work_off(world: World, bench: WorkerContext) -> Iterator[Costs]:
    """Every step that is queued; stops before each iteration but the first."""
    costs: Costs = defaultdict(float)
    began, number = spent(world), 1
    while (claim := claim_step(world.engine, WORKER, LEASE_SECONDS, bench.warm_model)) is not None:
        if claim.iteration != number:
            number, paused = claim.iteration, spent(world)
            yield costs
            costs, began = defaultdict(float), began + spent(world) - paused
        work_on(bench, claim)
        now = spent(world)
        costs[claim.phase] += now - began
        began = now
    yield costs


def slope(points: list[tuple[float, float]]) -> float:
    """The exponent of the power that fits best: least squares of the logarithms."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    over = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return over / sum((x - mean_x) ** 2 for x in xs)


def by_questions(load: Load, sizes: list[int]) -> list[str]:
    found = {questions: one_iteration(load, questions) for questions in sizes}
    rows: list[list[object]] = []
    for phase in (*found[sizes[0]], "all"):
        costs = {questions: _cost(one, phase) for questions, one in found.items()}
        exponent = slope(list(costs.items()))
        goal = "" if phase != "all" else _verdict(exponent)
        rows.append([phase, *map(significant, costs.values()), f"{exponent:.2f}", goal])
    head = ["phase", *(f"{questions:,} questions" for questions in sizes), "exponent", "goal"]
    return ["## Against the number of questions", "CPU seconds of one iteration.", table(head, rows)]


def one_iteration(load: Load, questions: int) -> Costs:
    with load.world() as world:
        [costs] = iterations(world, load.config, questions, 1)
    return costs


def _cost(costs: Costs, phase: str) -> float:
    return sum(costs.values()) if phase == "all" else costs[phase]


def _verdict(exponent: float) -> str:
    if exponent > EXPONENT[1]:
        return "missed"
    return "reached" if exponent >= EXPONENT[0] else "below: a part of the cost is the same for any number"


def by_iterations(load: Load, questions: int, count: int) -> list[str]:
    """The last iterations of one job take turns with the first ones of another, each on a database of its
    own: the machine's speed changes by more within a minute than is looked for. A job's very first one is
    left out: nothing is trained on yet, so its sampler is another one."""
    with load.world() as one, load.world() as other:
        old = iterations(one, load.config, questions, count)
        before = memory_after(old, TURNS)
        after = memory_after(old, count - 2 * TURNS)
        young = iterations(other, load.config, questions, 1 + TURNS)
        next(young)
        turns = [(next(young), next(old)) for _ in range(TURNS)]
        assert not [*young, *old], "both jobs end here"
    rows: list[list[object]] = []
    for phase in (*turns[0][0], "all"):
        first, last = ([_cost(turn[which], phase) for turn in turns] for which in (0, 1))
        drift = median(late / early for early, late in zip(first, last, strict=True)) - 1
        missed = f"missed: {1000 * (median(last) - median(first)):.0f} ms of an iteration"
        goal = "" if phase != "all" else "reached" if drift <= DRIFT else missed
        rows.append([phase, median_and_range(first), median_and_range(last), f"{drift:+.1%}", goal])
    flat = "reached" if after - before <= GROWTH_MIB else "missed"
    label = f"memory of the worker after {TURNS} and {count - TURNS}, MiB"
    rows.append([label, f"{before:.0f}", f"{after:.0f}", f"{after - before:+.0f} MiB", flat])
    early, late = f"iterations 2 to {1 + TURNS}", f"{count - TURNS + 1} to {count}"
    about = (
        f"{questions:,} questions; CPU seconds of an iteration, the median of {TURNS} with the least and the "
        f"most; the drift is the median of the ratios. The last iterations of a job of {count} take turns "
        f"with the first ones of another job, for the machine's speed changes from minute to minute."
    )
    return [
        "## Against the number of iterations",
        about,
        table(["phase", early, late, "drift", "goal"], rows),
    ]


def memory_after(job: Iterator[Costs], count: int) -> float:
    """Of this process, in MiB, after so many more iterations."""
    assert len(list(islice(job, count))) == count
    return float(psutil.Process().memory_info().rss) / 2**20


GOALS = f"""Goals: an exponent of {EXPONENT[0]} to {EXPONENT[1]} against the number of questions; over the
iterations a drift of at most {DRIFT:.0%}, and memory that grows by at most {GROWTH_MIB} MiB."""
SCRIPTED = "The sampler is scripted, so nothing of this is a model's work; growth-model.md has it with one."
WITH_MODEL = """Additions of four digits by {model}, generated and trained on CPU by transformers and PEFT.
The learning rate is so small that every iteration has the same to do; every prompt shows the examples."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--model", type=Path, help="a folder with weights and tokenizer")
    parser.add_argument("--questions", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--to", type=Path)
    chosen = parser.parse_args()
    load = Load(chosen.database, chosen.model and chosen.model.resolve())
    page = chosen.to or PAGES / ("growth-model.md" if chosen.model else "growth.md")
    sizes = " ".join(map(str, chosen.questions))
    options = f"--database {chosen.database} --questions {sizes} --iterations {chosen.iterations}"
    options += f" --model {chosen.model}" if chosen.model else ""
    about = WITH_MODEL.format(model=chosen.model) if chosen.model else SCRIPTED
    with load.world() as world:
        versions = f"{database_version(world.engine)}; " + "\n".join(machine("sqlalchemy", "psycopg"))
    parts = ["# Growth", f"```sh\npython -m benchmarks.growth {options}\n```", f"{GOALS}\n{about}", versions]
    parts += by_questions(load, chosen.questions)
    page.write_text("\n\n".join(parts) + "\n")
    parts += [*by_iterations(load, 300, chosen.iterations), notes_beside(page)]
    page.write_text("\n\n".join(parts).rstrip() + "\n")


if __name__ == "__main__":
    main()
