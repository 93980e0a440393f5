"""What one project can do to another, and what strangers without a key can do to everybody.

    python -m benchmarks.noisy_neighbour [--seconds 10] [--database postgresql]

writes docs/benchmarks/noisy-neighbour.md. One API process with its default limits and one scheduler. The
quiet project polls its job and lists what it has; a window without noise comes before each window with it.
The noise comes from processes of low priority, so that they take no core from the API.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import yaml

from app.database import make_engine, transaction
from app.ledger.platform.keys import Scope, create_key, create_project
from benchmarks.http_api import percentile
from benchmarks.measuring import machine, notes_beside, table
from benchmarks.noise import OF_A_PROJECT, OF_STRANGERS, Noisy
from benchmarks.served import database, started, wait_for
from tests.app.api_harness import MODEL, addition_rows, few_shot, make_model
from tests.databases import PROJECT
from tests.receivers import Receiver, receiver

PAGE = PROJECT / "docs" / "benchmarks" / "noisy-neighbour.md"
GOAL, HEALTH_GOAL_MS = 3.0, 100.0
PAUSE_SECONDS = 0.03  # between two requests of the quiet project
KEYS = 5  # of each project: one alone may not ask often enough
HANGING = 40  # webhooks of the noisy project whose receiver says nothing
DATASET_ROWS = 50_000


@dataclass(frozen=True)
class Place:
    """The API, a quiet project and a noisy one."""

    url: str
    quiet: tuple[httpx2.Client, ...]
    paths: tuple[str, ...]  # what the quiet project asks for
    noisy: Noisy


@contextmanager
def place(kind: str, home: Path, hook: Receiver) -> Iterator[Place]:
    make_model(home / "model")
    (home / "models.yaml").write_text(yaml.safe_dump([{"id": MODEL, "location": "model"}]))
    settings = {
        "STAR_MODELS_FILE": str(home / "models.yaml"),
        "STAR_WEBHOOK_SECRET": "of the benchmark",
        "STAR_WEBHOOK_ALLOWED_HOSTS": f'["{hook.host}"]',
        "STAR_WRONG_KEY_LIMIT": "1000000/minute",  # strangers and the others share one address here
    }
    with database(kind, home) as url, started(url, home, **settings) as (_, base_url):
        quiet, noisy = keys(url, "quiet"), keys(url, "noisy")
        clients = tuple(client(base_url, key) for key in quiet)
        wait_for(clients[0], "/v1/datasets")
        job, _ = prepared(clients[0], 200)
        with client(base_url, noisy[0]) as maker:
            theirs, body = prepared(maker, DATASET_ROWS)
        paths = (f"/v1/jobs/{job}", "/v1/jobs", "/v1/datasets", f"/v1/jobs/{job}/events")
        environment = {**os.environ, "STAR_DATABASE_URL": url, "STAR_HOME": str(home), **settings}
        scheduler = subprocess.Popen(
            [sys.executable, "-m", "worker.scheduler"],
            cwd=PROJECT,
            env=environment,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            yield Place(base_url, clients, paths, Noisy(base_url, noisy, theirs, body, 0))
        finally:
            scheduler.terminate()
            scheduler.wait()


def keys(url: str, name: str) -> tuple[str, ...]:
    engine = make_engine(url)
    with transaction(engine) as session:
        project = create_project(session, name)
        made = tuple(create_key(session, project, str(n), [Scope.SUBMIT]) for n in range(KEYS))
    engine.dispose()
    return made


def client(base_url: str, key: str) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.Client(base_url=base_url, headers=headers, timeout=120)


def prepared(maker: httpx2.Client, rows: int) -> tuple[str, dict[str, object]]:
    """A job that waits for a worker, and the body of a dry run of the same."""
    uploaded = maker.post(
        "/v1/datasets", params={"kind": "scratchpad", "validation": 100}, content=addition_rows(rows)
    )
    shown = {"name": "few-shot", "kind": "scratchpad", "examples": few_shot()}
    prompts = maker.post("/v1/prompt-sets", json=shown)
    body: dict[str, object] = {
        "model": MODEL,
        "dataset": uploaded.raise_for_status().json()["id"],
        "prompt_set": prompts.raise_for_status().json()["id"],
        "config": {"generation": {"max_tokens": 100}},
    }
    return maker.post("/v1/jobs", json=body).raise_for_status().json()["id"], {**body, "dry_run": True}


def times(ask: Callable[[], httpx2.Response], until: float) -> list[float]:
    """Milliseconds of each request until then."""
    found = []
    while time.time() < until:
        began = time.perf_counter()
        answer = ask()
        found.append(1000 * (time.perf_counter() - began))
        answer.raise_for_status()
        time.sleep(PAUSE_SECONDS)
    return found


def quietly(noise: Callable[[Noisy], None], noisy: Noisy, seconds: float, imported: Barrier) -> None:
    os.nice(15)
    imported.wait()
    noise(replace(noisy, until=time.time() + seconds))


@contextmanager
def noise_of(some: Sequence[Callable[[Noisy], None]], noisy: Noisy, seconds: float) -> Iterator[None]:
    """So many seconds of it, once every process has imported what it needs."""
    spawned = multiprocessing.get_context("spawn")
    imported = spawned.Barrier(len(some) + 1)
    processes = [spawned.Process(target=quietly, args=(noise, noisy, seconds, imported)) for noise in some]
    for process in processes:
        process.start()
    try:
        imported.wait(120)  # broken where one of them has failed
        yield
    finally:
        for process in processes:
            process.join(seconds + 5)
            process.kill()
            process.join()


def row(
    here: Place,
    name: str,
    some: Sequence[Callable[[Noisy], None]],
    ask: Callable[[], httpx2.Response],
    s: float,
) -> tuple[str, list[float], list[float]]:
    """The name, and the times without and with the noise."""
    quiet = times(ask, time.time() + s)
    with noise_of(some, here.noisy, s + 3):
        times(ask, time.time() + 2)  # until it is under way, and the API has seen that both ask
        loud = times(ask, time.time() + s)
    time.sleep(2)
    return name, quiet, loud


def rows_of_strangers(
    here: Place, stranger: httpx2.Client, seconds: float
) -> list[tuple[str, list[float], list[float]]]:
    """`/healthz` beside each noise without a key, and beside all of them."""
    windows = {**{name: [noise] for name, noise in OF_STRANGERS.items()}}
    windows["all of these together"] = list(OF_STRANGERS.values())
    ask = lambda: stranger.get("/healthz")  # noqa: E731
    return [row(here, name, some, ask, seconds) for name, some in windows.items()]


def webhooks(here: Place, hook: Receiver) -> list[str]:
    """Seconds until a test message arrives, without and with the hanging receivers of the noisy project."""
    with client(here.url, here.noisy.keys[1]) as noisy:
        own = here.quiet[0].post("/v1/webhooks", json={"url": hook.url}).raise_for_status().json()["id"]
        quiet = arrival(here.quiet[0], own, hook)
        for _ in range(HANGING):
            made = noisy.post("/v1/webhooks", json={"url": hook.url.replace("/hook", hook.hanging)})
            for _ in range(3):
                noisy.post(f"/v1/webhooks/{made.raise_for_status().json()['id']}/test").raise_for_status()
        time.sleep(3)
        loud = arrival(here.quiet[0], own, hook)
    hook.stop_hanging.set()
    return [f"{HANGING} receivers that hang, 3 messages each", f"{quiet:.1f} s", f"{loud:.1f} s"]


def arrival(owner: httpx2.Client, webhook: str, hook: Receiver) -> float:
    message = owner.post(f"/v1/webhooks/{webhook}/test").raise_for_status().json()["id"]
    began = time.perf_counter()
    while not any(got.headers["webhook-id"] == message for got in hook.received):
        if time.perf_counter() - began > 300:
            raise RuntimeError("the message did not arrive in five minutes")
        time.sleep(0.01)
    return time.perf_counter() - began


def neighbours(found: Sequence[tuple[str, list[float], list[float]]]) -> str:
    rows = []
    for name, quiet, loud in found:
        ratio = percentile(loud, 0.99) / percentile(quiet, 0.99)
        verdict = "reached" if ratio <= GOAL else f"missed: {ratio:.1f} times"
        rows.append([name, shown(quiet), shown(loud), f"{ratio:.1f}", verdict])
    return table(["noise of one project", "quiet, ms", "with the noise, ms", "p99 ratio", "goal"], rows)


def strangers(found: Sequence[tuple[str, list[float], list[float]]]) -> str:
    rows = []
    for name, quiet, loud in found:
        worst = percentile(loud, 0.99)
        verdict = "reached" if worst <= HEALTH_GOAL_MS else f"missed: {worst:.0f} ms"
        rows.append([name, shown(quiet), shown(loud), verdict])
    return table(["noise without a key", "/healthz, quiet, ms", "with the noise, ms", "goal"], rows)


def shown(found: list[float]) -> str:
    return f"{percentile(found, 0.5):.1f} / {percentile(found, 0.99):.1f}"


ABOUT = f"""Milliseconds: median / 99th percentile of the quiet project's requests, one every
{PAUSE_SECONDS * 1000:.0f} ms: its job, its jobs, its datasets, its job's events. Goals: beside one noisy
project at most {GOAL:.0f} times the quiet project's own p99; `/healthz` beside strangers at most
{HEALTH_GOAL_MS:.0f} ms. Clients and server share the machine. A window begins two seconds after
the noise, when both projects have asked for as long."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--to", type=Path, default=PAGE)
    parser.add_argument("--strangers", action="store_true", help="print only the rows without a key")
    chosen = parser.parse_args()
    with (
        TemporaryDirectory() as folder,
        receiver() as hook,
        place(chosen.database, Path(folder), hook) as here,
        httpx2.Client(base_url=here.url, timeout=120) as stranger,
    ):
        clients, paths = cycle(here.quiet), cycle(here.paths)
        ask = lambda: next(clients).get(next(paths))  # noqa: E731
        times(ask, time.time() + 3)  # to warm up
        if chosen.strangers:
            print(strangers(rows_of_strangers(here, stranger, chosen.seconds)))
            return
        windows = {**{name: [noise] for name, noise in OF_A_PROJECT.items()}}
        windows["all of these together"] = list(OF_A_PROJECT.values())
        beside = [row(here, name, some, ask, chosen.seconds) for name, some in windows.items()]
        without = rows_of_strangers(here, stranger, chosen.seconds)
        messages = webhooks(here, hook)
    delivered = table(["webhooks of one project", "quiet, delivered after", "with the noise"], [messages])
    command = (
        f"python -m benchmarks.noisy_neighbour --seconds {chosen.seconds:g} --database {chosen.database}"
    )
    parts = ["# A noisy neighbour", f"```sh\n{command}\n```", ABOUT, "\n".join(machine("uvicorn"))]
    parts += [neighbours(beside), strangers(without), delivered, notes_beside(chosen.to)]
    chosen.to.write_text("\n\n".join(parts).rstrip() + "\n")
    print(chosen.to.read_text())


if __name__ == "__main__":
    main()
