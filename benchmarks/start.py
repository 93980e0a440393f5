"""From the command to the first answer of the API, and what of that its imports are.

    python -m benchmarks.start [--rounds 5] [--out docs/benchmarks/start.md]

The allow-list names one model of 512 MiB, out of the page cache. Its first start hashes it; later ones find
the hash where the first has kept it. Processes are started afresh for every figure, their bytecode compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx2
import yaml

from app.database import make_engine, transaction
from app.ledger.platform.keys import Scope, create_key, create_project
from benchmarks.measuring import interleaved, machine, median_and_range, table
from benchmarks.served import database, started, wait_for

OUT = Path("docs/benchmarks/start.md")
WEIGHTS_BYTES = 512 << 20
LONG_AGO = 1_700_000_000  # a file that was written this moment is not remembered
IMPORT_SECONDS, START_SECONDS = 1.0, 2.0  # the goals
# As `python -X importtime` divides it; what it adds to every module is in these numbers.
WHY_MISSED = """
Missed because over a thousand modules are imported. Of 1.9 s, looked into once, our 26 files of routes take
0.36 s (FastAPI and pydantic build 86 routes and their models), SQLAlchemy 0.31 s, FastAPI and pydantic
themselves 0.26 s, our tables 0.10 s. Importing `tokenizers` only where tokens are counted has saved 0.07 s,
and making every route once (app/http/router.py) 1.1 s of the start: 3.46 s became 2.35 within an hour.
pydantic's `defer_build` saved nothing. To collect no garbage meanwhile would save 0.1 s; it is left alone.

Looked into again with a profiler that samples CPU time, once: of 2.4 s FastAPI's 257 routes take 0.5 s,
pydantic's models another 0.5 s (0.1 s of it finds the docstrings of settings), the 444 dataclasses 0.2 to
0.3 s, regular expressions 0.26 s, SQLAlchemy's mapping 0.1 s. redis, with the OpenTelemetry SDK that it
brings along, typer and the words of leaked hints (0.04 s) are loaded where they are used since: 1,479
modules instead of 1,644. The rows above are of before. Tried and left: to compile the other 150 large
patterns at their first use (at most 0.1 s, for a stand-in in 14 files); fewer collections of young objects
and no dependency that refuses NUL in each route (no difference beyond the noise)."""
NO_GAIN = "\nHashing the model's 512 MiB out of the page cache takes less than these rounds differ."
_TIMED = "import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"


def compiled_in(folder: Path) -> dict[str, str]:
    """Variables with which Python finds compiled bytecode, as in an image or after a first start."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def import_seconds(module: str, folder: Path) -> float:
    """Of a module in a fresh interpreter, the interpreter's own start left out."""
    command = [sys.executable, "-c", _TIMED.format(module=module)]
    environment = {**os.environ, **compiled_in(folder)}
    return float(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)


def make_model(folder: Path) -> Path:
    """An allow-list with one model."""
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    weights = folder / "model" / "model.safetensors"
    with weights.open("wb") as file:
        for _ in range(WEIGHTS_BYTES >> 20):
            file.write(bytes(1 << 20))
    for path in weights.parent.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    listed = folder / "models.yaml"
    listed.write_text(yaml.safe_dump([{"id": "m", "location": "model"}]))
    return listed


def start_seconds(url: str, key: str, folder: Path, *, first: bool) -> float:
    """From starting the process to its first answer to a GET of the models."""
    if first:
        (folder / "model-hashes.json").unlink(missing_ok=True)
    settings = {"STAR_MODELS_FILE": str(folder / "models.yaml"), **compiled_in(folder)}
    began = time.perf_counter()
    with (
        started(url, folder, **settings) as (_, base_url),
        httpx2.Client(base_url=base_url, headers={"Authorization": f"Bearer {key}"}) as client,
    ):
        wait_for(client, "/v1/models")
        return time.perf_counter() - began


def measure(rounds: int) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as name, database("sqlite", Path(name)) as url:
        folder = Path(name)
        make_model(folder)
        engine = make_engine(url)
        with transaction(engine) as session:
            key = create_key(session, create_project(session, "bench"), "bench", Scope)
        engine.dispose()
        runs: dict[str, Callable[[], float]] = {
            "import app.main": lambda: import_seconds("app.main", folder),
            "start, no hash kept": lambda: start_seconds(url, key, folder, first=True),
            "start, hashes kept": lambda: start_seconds(url, key, folder, first=False),
        }
        for run in runs.values():  # compiles bytecode, warms the page cache
            run()
        return interleaved(runs, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    found = measure(chosen.rounds)
    goals = {"import app.main": IMPORT_SECONDS, "start, hashes kept": START_SECONDS}
    rows = []
    for name, seconds in found.items():
        goal = goals.get(name)
        reached = "" if goal is None else "reached" if median(seconds) <= goal else "missed"
        rows.append((name, median_and_range(seconds, "s"), f"<= {goal:.0f} s" if goal else "", reached))
    about = (
        "From the command to the first answer to `GET /v1/models`, on SQLite, with a model of 512 MiB in the "
        "page cache.\nMedians, with the least and the most.\n"
    )
    page = [
        f"# Starting the API\n\n```sh\npython -m benchmarks.start --rounds {chosen.rounds}\n```\n",
        "\n".join(machine("fastapi", "pydantic", "sqlalchemy", "uvicorn")) + "\n",
        about,
        table(("what", "seconds", "goal", ""), rows),
        *([WHY_MISSED] if any(row[-1] == "missed" for row in rows) else []),
        *([NO_GAIN] if max(found["start, hashes kept"]) > min(found["start, no hash kept"]) else []),
    ]
    chosen.out.write_text("\n".join(page) + "\n")
    print(chosen.out.read_text())


if __name__ == "__main__":
    main()
