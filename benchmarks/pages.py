"""How long a page takes where a job has 10^4 or 10^6 rationales, and where a project has 10^5 of everything.

    python -m benchmarks.pages [--rows 10000 1000000] [--database postgresql]

writes docs/benchmarks/pages-postgresql.md or pages-sqlite.md. Rows are made inside the database. Pages of 100
are asked for over HTTP, one after another, at random places of the list, so a time is what a user waits:
key, query, JSON and all.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from app.database import reading, transaction
from app.tables.data import Example
from app.tables.jobs import Event, Iteration, Job
from app.tables.rationales import Adapter, Rationale
from benchmarks.http_api import ServedApi, database_version, percentile, served
from benchmarks.ledger_world import cpu_seconds, new_world
from benchmarks.many_rows import multiply, settle
from benchmarks.measuring import machine, notes_beside, table
from tests.factories import World

PAGES = Path(__file__).parents[1] / "docs" / "benchmarks"
GOAL_MS = 50.0
FLAT = 2.0  # the p99 of the most rows may be so many times that of the fewest
LISTED = 100_000  # jobs, events, adapters, examples
ITERATIONS = 10
Filter = dict[str, str | int]
FILTERS: dict[str, Filter] = {
    "none": {},
    "iteration": {"iteration": 5},
    "route": {"route": "rationalized"},
    "verdict": {"verdict": "correct"},
    "decision": {"decision": "kept"},
    "reason": {"reason": "duplicate"},
    "reason, of 1 in 10,000": {"reason": "too_long"},
    "example": {"example": "e3"},
    "iteration, route, decision": {"iteration": 5, "route": "rationalized", "decision": "kept"},
    "route, verdict": {"route": "generated", "verdict": "unparsed"},
    "verdict, decision": {"verdict": "correct", "decision": "dropped"},
    "route, reason, of 1 in 30,000": {"route": "rationalized", "reason": "too_long"},
    "route, decision, none such": {"route": "given", "decision": "dropped"},
    "verdict, reason, iteration": {"verdict": "correct", "reason": "too_long", "iteration": 9},
    "text, of 1 in 100": {"text": "carry 77,"},
    "text, none such": {"text": "no such words"},
    "text, route, verdict": {"text": "carry 7", "route": "rationalized", "verdict": "wrong"},
}


def add_rationales(world: World, job_id: str, count: int) -> None:
    """Of ten iterations: 30 % rationalized, 46 % kept, one in 10,000 too long, and some text of 500 bytes."""
    with transaction(world.engine) as session:
        examples = session.scalars(select(Example.id).where(Example.split == "train").order_by(Example.id))
        first = next(iter(examples))
        numbers = []
        for number in range(1, ITERATIONS + 1):
            iteration = Iteration(job_id=job_id, number=number, phases_done=[], metrics={})
            session.add(iteration)
            session.flush()
            numbers.append(iteration.id)
        template = Rationale(
            job_id=job_id,
            iteration_id=numbers[0],
            iteration_number=1,
            example_id=first,
            route="given",
            sample=-1,
            text="",
            verdict="correct",
            rule="test",
            decision="kept",
            reason="kept",
            prompt_tokens=300,
            tokens=120,
            finish_reason="stop",
        )
        session.add(template)
        session.flush()
    each = -(-count // ITERATIONS)
    dice = "((n % 10007 * 7919 + 13) % 10007)"  # spreads evenly, the same everywhere
    reason = (
        f"CASE WHEN {dice} = 0 THEN 'too_long' WHEN {dice} < 4600 THEN 'kept' "
        f"WHEN {dice} < 8000 THEN 'wrong' WHEN {dice} < 9000 THEN 'unparsed' ELSE 'duplicate' END"
    )
    multiply(
        world.engine,
        Rationale,
        template.id,
        count,
        iteration_id=f"{numbers[0]} + n / {each}",
        iteration_number=f"1 + n / {each}",
        example_id=f"{first} + n % 16",
        route="CASE WHEN n % 10 < 3 THEN 'rationalized' ELSE 'generated' END",
        sample="n",
        text="'Step ' || n || ': carry ' || n % 100 || ', ' || '"
        + "and add the digits of this column; " * 13
        + "'",
        reason=f"({reason})",
        decision=f"CASE WHEN ({reason}) = 'kept' THEN 'kept' ELSE 'dropped' END",
        verdict=f"CASE WHEN ({reason}) IN ('wrong', 'unparsed') THEN ({reason}) ELSE 'correct' END",
    )


@dataclass(frozen=True)
class Cost:
    """Of pages of one kind."""

    milliseconds: list[float]  # of each, by the clock
    cpu: float  # milliseconds of a page's processor time, of API and database together; the mean

    def __str__(self) -> str:
        half, tail = percentile(self.milliseconds, 0.5), percentile(self.milliseconds, 0.99)
        return f"{half:.1f} / {tail:.1f} / {self.cpu:.1f}"


def timed(world: World, api: ServedApi, path: str, wanted: Filter, places: list[Any]) -> Cost:
    """A page at each of these places, after one to warm up."""
    found, spent = [], 0.0
    for place in [places[0], *places]:
        after = {} if place is None else {"after": place}
        before, began = _spent(world, api), time.perf_counter()
        answer = api.client.get(path, params={"limit": 100, **wanted, **after})
        found.append(1000 * (time.perf_counter() - began))
        spent = spent + _spent(world, api) - before if len(found) > 1 else 0.0
        assert answer.status_code == 200, answer.text
    return Cost(found[1:], 1000 * spent / len(places))


def _spent(world: World, api: ServedApi) -> float:
    """Processor time so far of the API and the database's connections; this process's own is left out."""
    return api.cpu_seconds() + cpu_seconds(world) - time.process_time()


def rationale_pages(world: World, rows: int, calls: int) -> dict[str, Cost]:
    """Milliseconds by filter. A tenth of the rows belongs to a job that came before."""
    other, job_id = world.submit(), world.submit()
    add_rationales(world, other, rows // 10)
    add_rationales(world, job_id, rows)
    settle(world.engine)
    with reading(world.engine) as session:
        ids = select(func.min(Rationale.id), func.max(Rationale.id)).where(Rationale.job_id == job_id)
        low, high = session.execute(ids).one()
    dice = random.Random(1)
    places = [f"rat_{dice.randint(low, high)}" for _ in range(calls)]
    with served(world) as api:
        path = f"/v1/jobs/{job_id}/rationales"
        return {name: timed(world, api, path, wanted, places) for name, wanted in FILTERS.items()}


def lists(world: World, calls: int) -> dict[str, Cost]:
    """Milliseconds by list, each of LISTED rows, by name of what is listed."""
    job_id = world.submit()
    engine = world.engine
    number = "(1000000 + n)"
    multiply(
        engine,
        Job,
        job_id,
        LISTED,
        id=f"'job_0' || {number}",
        name=f"'run ' || {number}",
        status="CASE WHEN n % 10000 = 7 THEN 'failed' WHEN n % 3 = 0 THEN 'cancelled' ELSE 'succeeded' END",
        phase="NULL",
    )
    with transaction(engine) as session:
        event = session.scalar(select(Event.id).where(Event.job_id == job_id).limit(1))
        adapter = Adapter(
            id="adp_0",
            job_id=job_id,
            iteration_number=1,
            files=[{"path": "adapter_model.safetensors", "size_bytes": 1, "sha256": "0" * 64}],
            training={},
            verification={"loads": True},
        )
        session.add(adapter)
        example = session.scalar(select(func.min(Example.id)))
        last = session.scalars(select(Event.seq).order_by(Event.seq.desc()).limit(1)).one()
    assert event is not None
    assert example is not None
    multiply(engine, Event, event, LISTED, seq=f"{last} + 1 + n")
    multiply(engine, Adapter, "adp_0", LISTED, id=f"'adp_1' || {number}", job_id=f"'job_0' || {number}")
    multiply(engine, Example, example, LISTED, position="1000 + n", external_id=f"'x' || {number}")
    settle(engine)
    dice = random.Random(2)
    some = [1_000_000 + dice.randrange(LISTED) for _ in range(calls)]
    jobs, adapters = [f"job_0{n}" for n in some], [f"adp_1{n}" for n in some]
    examples, events = [f"x{n}" for n in some], [n - 1_000_000 for n in some]
    with served(world) as api:
        asked: dict[str, tuple[str, Filter, list[Any]]] = {
            "jobs": ("/v1/jobs", {}, jobs),
            "jobs, status of 1 in 10,000": ("/v1/jobs", {"status": "failed"}, [None, *jobs]),
            "jobs, name of 1 in 100,000": ("/v1/jobs", {"name": "run 1000123"}, [None] * calls),
            "events of a job": (f"/v1/jobs/{job_id}/events", {}, events),
            "adapters": ("/v1/adapters", {}, adapters),
            "examples of a dataset": (f"/v1/datasets/{world.dataset_id}/examples", {}, examples),
            "examples, split of 8": (
                f"/v1/datasets/{world.dataset_id}/examples",
                {"split": "validation"},
                [None] * calls,
            ),
        }
        return {
            name: timed(world, api, path, wanted, places) for name, (path, wanted, places) in asked.items()
        }


def rationale_table(found: dict[int, dict[str, Cost]]) -> str:
    head = ["filter", *(f"{rows:,} rows" for rows in found), "CPU, most / fewest rows", "goal"]
    rows = []
    for name in FILTERS:
        costs = [cost[name] for cost in found.values()]
        growth = costs[-1].cpu / costs[0].cpu
        rows.append([name, *costs, f"{growth:.1f}x", _verdict(costs, growth)])
    return table(head, rows)


def list_table(found: dict[str, Cost]) -> str:
    rows = [[name, cost, _verdict([cost], 1.0)] for name, cost in found.items()]
    return table([f"list of {LISTED:,}", "p50 / p99 / CPU, ms", "goal"], rows)


def _verdict(costs: list[Cost], growth: float) -> str:
    missed = []
    if max(percentile(cost.milliseconds, 0.99) for cost in costs) > GOAL_MS:
        missed.append(f"p99 > {GOAL_MS:.0f} ms")
    if growth > FLAT:
        missed.append("not flat")
    return f"missed: {', '.join(missed)}" if missed else "reached"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--to", type=Path)
    chosen = parser.parse_args()
    options = f"--rows {' '.join(map(str, chosen.rows))} --database {chosen.database} --calls {chosen.calls}"
    page = chosen.to or PAGES / f"pages-{chosen.database}.md"
    found: dict[int, dict[str, Cost]] = {}
    tables: dict[str, str] = {}
    for rows in [None, *chosen.rows]:  # the lists first; whoever stops it keeps what there is
        with new_world(chosen.database) as world:
            server = database_version(world.engine)
            if rows is None:
                tables["lists"] = list_table(lists(world, chosen.calls))
            else:
                found[rows] = rationale_pages(world, rows, chosen.calls)
                tables["rationales"] = rationale_table(found)
        page.write_text(report(options, server, [*tables.values(), notes_beside(page)], chosen.calls))


def report(options: str, server: str, measured: Sequence[str], calls: int) -> str:
    versions = f"{server}; " + "\n".join(machine("fastapi", "uvicorn", "sqlalchemy", "psycopg"))
    about = INTRODUCTION.format(calls=calls)
    parts = ["# Pages", f"```sh\npython -m benchmarks.pages {options}\n```", about, versions]
    return "\n\n".join([*parts, *measured]).rstrip() + "\n"


INTRODUCTION = f"""A page of 100 over HTTP from one client to one API process on the same machine, {{calls}}
pages at random places of the list. Milliseconds: median / 99th percentile / processor time of API and
database (mean), which other work on the machine does not stretch. Goals: a 99th percentile of at most
{GOAL_MS:.0f} ms, and flat: at most {FLAT:.0f} times the processor time of the fewest rows. No page uses
OFFSET or COUNT(*); that each walks an index without a sort is tested in
tests/app/ledger/results/test_rationale_pages.py. Rationales have 500 bytes of text; a tenth as many belong to
another job."""


if __name__ == "__main__":
    main()
