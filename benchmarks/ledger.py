"""What it takes to record an iteration in the ledger, against the same rows without it; on both databases.

    python -m benchmarks.ledger [--rows 10000] [--rounds 3] [--out docs/benchmarks/ledger.md]

Beside record_rationales(), record_evaluations() and record_training_set() stands the raw insert of the same
rationales into the same table, ready in memory, in one transaction: executemany of the driver (SQLite), COPY
(PostgreSQL, started for this with fsync off). The table grows by what every run leaves in it.
"""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psycopg
from sqlalchemy import update

from app.database import reading, transaction
from app.ledger.data.examples import load_examples
from app.ledger.queue.steps import Claim, claim_step, finish_step
from app.ledger.results.evaluations import record_evaluations
from app.ledger.results.rationales import (
    claimed_iteration,
    iteration_tries,
    record_rationales,
    record_training_set,
)
from app.tables.jobs import Step
from app.tables.rationales import Rationale as RationaleRow
from benchmarks.ledger_world import LEASE_SECONDS, new_world, with_examples
from benchmarks.measuring import interleaved, machine, median_and_range, table
from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.training_set.rows import Decision, TrainingExample, training_set_sha256
from tests.factories import World

OUT = Path("docs/benchmarks/ledger.md")
BATCH = 64  # what a worker records at once: Settings.record_batch
TEXT = "There are 48/2 = 24 clips in May. Together they are 48 + 24 = 72 clips. The answer is 72. " * 4
RAW = "record_rationales' rows, raw"
ONE_ITERATION: dict[str, Any] = {"iterations": 1, "evaluation": {"baselines": ()}}
COLUMNS = (
    "job_id, iteration_id, iteration_number, example_id, route, sample, text, extracted, verdict, rule,"
    " prompt_tokens, tokens, finish_reason, reused, created_at"
)


def claimed(world: World, phase: str = "sample") -> Claim:
    """The step of a job of its own; whatever other jobs have left waits no longer."""
    with transaction(world.engine) as session:
        session.execute(update(Step).where(Step.status == "queued").values(status="cancelled"))
    world.submit(**ONE_ITERATION)
    return next_step(world, phase)


def next_step(world: World, phase: str) -> Claim:
    held = claim_step(world.engine, "worker:1", LEASE_SECONDS)
    if held is None or held.phase != phase:
        raise RuntimeError(f"{phase} was to come next, not {held and held.phase}")
    return held


def tries_of(world: World, claim: Claim) -> tuple[list[Rationale], dict[str, int]]:
    """A try at every example of the step, and the row ids."""
    with reading(world.engine) as session:
        positions = list(range(claim.work["start"], claim.work["stop"]))
        examples = load_examples(session, claim.dataset_id, "train", positions)
    tries = [
        Rationale(
            key=RationaleKey(example.id, Route.GENERATED, 0),
            text=TEXT,
            verdict="correct",
            extracted="72",
            rule="answer_is",
            prompt_tokens=700,
            tokens=90,
            finish_reason="stop",
        )
        for _, example in examples
    ]
    return tries, {example.id: row_id for row_id, example in examples}


def record(world: World, claim: Claim, batch: int) -> float:
    """Every try of the step, `batch` in a transaction."""
    tries, ids = tries_of(world, claim)
    began = perf_counter()
    for start in range(0, len(tries), batch):
        with transaction(world.engine) as session:
            record_rationales(session, claim, tries[start : start + batch], ids, None)
    return perf_counter() - began


def evaluate(world: World, claim: Claim) -> float:
    tries, ids = tries_of(world, claim)
    answers = [
        EvaluatedAnswer(
            example_id=item.key.example_id,
            group=None,
            text=TEXT,
            verdict="correct",
            extracted="72",
            rule="answer_is",
            prompt_tokens=700,
            tokens=90,
            finish_reason="stop",
        )
        for item in tries
    ]
    began = perf_counter()
    for start in range(0, len(answers), BATCH):
        with transaction(world.engine) as session:
            batch = answers[start : start + BATCH]
            record_evaluations(session, claim, EvaluationMode.ADAPTER, batch, ids)
    return perf_counter() - began


def build(world: World) -> float:
    """The decisions on all tries of an iteration and its training set, in one transaction."""
    sampled = claimed(world)
    record(world, sampled, 1000)
    with transaction(world.engine) as session:
        finish_step(session, sampled, world.settings)
    claim = next_step(world, "build")
    with reading(world.engine) as session:
        ids = {item.key: row_id for row_id, item in iteration_tries(session, claim)}
    decisions = [Decision(key, True, "kept") for key in ids]
    rows = [TrainingExample(key, "Q: How many?\nA:", TEXT) for key in ids]
    began = perf_counter()
    with transaction(world.engine) as session:
        record_training_set(session, claim, ids, decisions, rows, training_set_sha256(rows), None)
    return perf_counter() - began


def decide_one_by_one(world: World) -> float:
    """The decisions alone, a statement each: how record_training_set() once made them."""
    claim = claimed(world)
    record(world, claim, 1000)
    with reading(world.engine) as session:
        ids = [row_id for row_id, _ in iteration_tries(session, claim)]
    began = perf_counter()
    with transaction(world.engine) as session:
        rows = [{"id": row_id, "decision": "kept", "reason": "kept"} for row_id in ids]
        session.execute(update(RationaleRow), rows)
    return perf_counter() - began


def raw(world: World) -> float:
    claim = claimed(world)
    tries, ids = tries_of(world, claim)
    with reading(world.engine) as session:
        iteration = claimed_iteration(session, claim).id
    now = "2026-01-31 12:00:00.000000"
    fixed = ("answer_is", 700, 90, "stop", False, now)
    rows = [
        (claim.job_id, iteration, 1, ids[item.key.example_id], "generated", 0, TEXT, "72", "correct", *fixed)
        for item in tries
    ]
    url = world.engine.url
    began = perf_counter()
    if world.engine.dialect.name == "sqlite":
        _executemany(str(url.database), rows)
    else:
        _copy(url.render_as_string(hide_password=False), rows)
    return perf_counter() - began


def _executemany(path: str, rows: Sequence[tuple[Any, ...]]) -> None:
    places = ", ".join("?" * len(rows[0]))
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        connection.execute("PRAGMA synchronous=FULL")  # as durable as what it stands beside
        connection.execute("PRAGMA foreign_keys=ON")
        connection.executemany(f"INSERT INTO rationales ({COLUMNS}) VALUES ({places})", rows)  # noqa: S608


def _copy(url: str, rows: Sequence[tuple[Any, ...]]) -> None:
    with (
        psycopg.connect(url.replace("+psycopg", "")) as connection,
        connection.cursor().copy(f"COPY rationales ({COLUMNS}) FROM STDIN") as copy,
    ):
        for values in rows:
            copy.write_row(values)


def race(kind: str, rows: int, rounds: int) -> tuple[str, dict[str, list[float]]]:
    with new_world(kind, shard_examples=rows) as small:
        world = with_examples(small, rows, 10)
        runs: dict[str, Callable[[], float]] = {
            RAW: lambda: raw(world),
            f"record_rationales, {BATCH} at a time": lambda: record(world, claimed(world), BATCH),
            "record_rationales, all at once": lambda: record(world, claimed(world), rows),
            f"record_evaluations, {BATCH} at a time": lambda: evaluate(world, claimed(world)),
            "record_training_set": lambda: build(world),
            "its decisions alone, one by one": lambda: decide_one_by_one(world),
        }
        found = interleaved(runs, rounds)
        with world.engine.connect() as connection:
            asked = "SHOW server_version" if kind == "postgresql" else "SELECT sqlite_version()"
            return f"{kind} {connection.exec_driver_sql(asked).scalar_one()}", found


def lines(server: str, found: dict[str, list[float]], rows: int) -> Iterator[str]:
    yield f"## {server}\n"
    body = [
        (
            name,
            median_and_range(seconds, "s"),
            median_and_range([rows / took for took in seconds]),
            f"{median(found[RAW]) / median(seconds):.2f}",
        )
        for name, seconds in found.items()
    ]
    yield table(("what", "seconds", "rows/s", "of raw"), body) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    kinds = chosen.database or ["sqlite", "postgresql"]
    raced = [race(kind, chosen.rows, chosen.rounds) for kind in kinds]
    command = f"python -m benchmarks.ledger --rows {chosen.rows} --rounds {chosen.rounds}"
    about = (
        f"{chosen.rows:,} rationales of {len(TEXT)} characters, answers or decisions; medians, with the "
        "least and the most. The raw insert is COPY\n(PostgreSQL) or executemany (SQLite) of the same "
        "rationales into the same table with its nine indexes, in one transaction.\n"
    )
    page = [
        f"# Recording in the ledger\n\n```sh\n{command}\n```\n",
        "\n".join(machine("sqlalchemy", "psycopg")) + "\n",
        about,
        *(line for server, found in raced for line in lines(server, found, chosen.rows)),
    ]
    chosen.out.write_text("\n".join(page).rstrip() + "\n")
    print(chosen.out.read_text())


if __name__ == "__main__":
    main()
