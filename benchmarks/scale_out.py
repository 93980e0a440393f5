"""How one job spreads over workers, what the ledger costs, and whether projects get equal shares.

    python -m benchmarks.scale_out [spread|overhead|fairness] [--database sqlite] [--jobs 1000] [--rounds 2]

Without a part all three run; the output is a page of Markdown, or that part of it.

The ledger is the real one (PostgreSQL, started for this run with fsync off, or SQLite). A worker is a thread
that claims, waits as long as a GPU of a given speed would take, and records. The waiting costs no CPU, so a
busy machine disturbs the speed-up little; 1, 2 and 4 workers take turns, and the best of each counts.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from app.ledger.queue.steps import Claim, claim_step
from benchmarks.ledger_world import LEASE_SECONDS, about, cpu_seconds, drain, new_world, with_examples
from tests.app.ledger.ledger_driver import do_step
from tests.app.ledger.queue.test_dispatch import submit

TRAIN, HELD_OUT = 512, 256  # examples of the job that is spread
EXAMPLE_SECONDS = 0.08  # of one fake GPU; 1.5 tries an example
TRAIN_SECONDS, VERIFY_SECONDS = 3.0, 1.0  # on one worker, whatever there is
WORKERS = (1, 2, 4)
PROJECTS = 20
ONE_ITERATION: dict[str, Any] = {"iterations": 1}
FEW_STEPS: dict[str, Any] = {
    "iterations": 1,
    "evaluation": {"baselines": ()},
}  # one of each phase, a few of some


def gpu_seconds(held: Claim) -> float:
    """How long a fake GPU takes for this step."""
    if "stop" in held.work:
        return EXAMPLE_SECONDS * float(held.work["stop"] - held.work["start"])
    return {"train": TRAIN_SECONDS, "verify_adapter": VERIFY_SECONDS}.get(held.phase, 0.0)


def spread(database: str, workers: int) -> tuple[float, float]:
    """Seconds that one job takes, and the share of the workers' time in which their GPUs worked."""
    worked: list[float] = []

    def gpu(held: Claim) -> None:
        worked.append(gpu_seconds(held))
        time.sleep(worked[-1])

    with new_world(database, shard_examples=128) as small:
        world = with_examples(small, TRAIN, HELD_OUT)
        world.submit(**ONE_ITERATION)
        seconds = drain(world, workers, gpu)
    return seconds, sum(worked) / (workers * seconds)


def speed_up(database: str, rounds: int) -> None:
    """One job on 1, 2 and 4 workers against what its serial part allows at best."""
    parallel = EXAMPLE_SECONDS * (TRAIN + 3 * HELD_OUT)  # two baselines and one evaluation
    serial = TRAIN_SECONDS + VERIFY_SECONDS
    found: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(rounds):
        for workers in WORKERS:
            found[workers].append(spread(database, workers))
    best = {workers: min(runs) for workers, runs in found.items()}
    heading(f"One job on {', '.join(map(str, WORKERS))} workers", f"spread --rounds {rounds}", database)
    print(
        f"{TRAIN} train and {HELD_OUT} held-out examples, {EXAMPLE_SECONDS} s each on the fake GPU; training"
    )
    print(f"and its check take {serial:.0f} s on one worker. The bound is GPU time alone, nothing else.\n")
    print("| workers | seconds | at best | times as fast | bound | GPUs at work |")
    print("| --- | --- | --- | --- | --- | --- |")
    for workers, (seconds, share) in best.items():
        bound = parallel / workers + serial
        faster, most = best[1][0] / seconds, (parallel + serial) / bound
        print(f"| {workers} | {seconds:.1f} | {bound:.1f} | {faster:.2f} | {most:.2f} | {share:.0%} |")


def overhead(database: str) -> None:
    """Processor seconds that are spent on the ledger for a thousand rationales."""
    spent: dict[str, float] = defaultdict(float)
    with new_world(database, shard_examples=128) as small:
        world = with_examples(small, 2000, 200)
        world.submit(**ONE_ITERATION)
        began = cpu_seconds(world)
        while (held := claim_step(world.engine, "worker:0", LEASE_SECONDS)) is not None:
            do_step(world, held)
            now = cpu_seconds(world)
            spent[held.phase] += now - began
            began = now
    thousands = 2000 * 1.5 / 1000
    heading("The ledger's time for a thousand rationales", "overhead", database)
    print("Processor time of database and worker: claim, record, finish, plan what comes next.\n")
    print("| phase | CPU seconds for 1,000 rationales |")
    print("| --- | --- |")
    for phase in ("sample", "build"):
        print(f"| {phase} | {spent[phase] / thousands:.2f} |")
    rest = sum(spent.values()) - spent["sample"] - spent["build"]
    print(f"\nAll other steps of the iteration together: {rest:.2f} s, whatever the number of rationales.")


def fairness(database: str, jobs: int) -> None:
    """Many queued jobs of 20 projects on 8 workers whose GPUs take no time: throughput, and who is served."""
    served: list[str] = []
    with new_world(database, shard_examples=128) as world:
        for number in range(jobs):  # the first project queues half of all, before anybody else
            submit(world, f"project-{0 if number < jobs // 2 else 1 + number % (PROJECTS - 1)}", **FEW_STEPS)
        began = cpu_seconds(world)
        seconds = drain(world, 8, lambda held: served.append(held.project_id))
        spent = cpu_seconds(world) - began
    title = f"{jobs} queued jobs of {PROJECTS} projects on 8 workers"
    heading(title, f"fairness --jobs {jobs}", database)
    print("One project queued half of all jobs before the others came. GPUs take no time.\n")
    print(f"- {len(served)} steps in {seconds:.0f} s: {len(served) / seconds:.0f} steps a second")
    print(f"- {1000 * spent / len(served):.0f} ms of processor time a step, database and worker together")
    window = served[: len(served) // 4]
    shares = Counter(window)
    low, high = min(shares[name] for name in set(served)), max(shares.values())
    print(f"- in the first quarter of the steps ({len(window)}) a project got {low} to {high}")
    last = max(place for place, name in enumerate(served) if name != "project-0")
    print(f"- the other projects, half of the work, were done after {last / len(served):.0%} of all steps")


def heading(title: str, options: str, database: str) -> None:
    """What was measured, by which command and beside which load: other people's, or its own."""
    command = f"python -m benchmarks.scale_out {options} --database {database}"
    print(f"\n## {title}\n\n```sh\n{command}\n```\n\nLoad of the machine afterwards: ", end="")
    print(f"{os.getloadavg()[0]:.1f}.\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=" | ".join(PARTS))
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    if not arguments.parts:
        print("# Scale-out\n")
    with new_world(arguments.database) as world:
        print(about(world))
    for part in arguments.parts or PARTS:
        PARTS[part](arguments)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "spread": lambda given: speed_up(given.database, given.rounds),
    "overhead": lambda given: overhead(given.database),
    "fairness": lambda given: fairness(given.database, given.jobs),
}

if __name__ == "__main__":
    main()
