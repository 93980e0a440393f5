"""Nothing is lost and nothing is doubled while everything breaks; without the fence this is noticed.

STAR_SOAK_FAULTS, STAR_SOAK_PACE (seconds between two faults) and STAR_SOAK_SEED (at random where none is
given) choose how long, how fast and which; what happened is printed. A thousand faults in ten minutes on
two cores: STAR_SOAK_FAULTS=1000 STAR_SOAK_PACE=0.55 STAR_SOAK_WORKERS=6 STAR_SOAK_BURST=2. Two things break
at once, since a fault waits until somebody is at work again, and of three workers that is often nobody. A
machine that cannot keep the pace takes longer, or with STAR_SOAK_SECONDS does less. With STAR_SOAK_PROGRAMS=1
every job executes programs: judged by tests, called in CPython, called in the interpreter.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from app.database import reading
from app.ledger.platform.counters import counters
from tests.databases import PROJECT
from tests.faults.checker import check, check_logs
from tests.faults.conftest import quick_world
from tests.faults.executions import check_executions
from tests.faults.soak import Soak
from tests.faults.test_fence import UNFENCED
from tests.platforms import platform

FAULTS = int(os.environ.get("STAR_SOAK_FAULTS", "200"))
PACE = float(os.environ.get("STAR_SOAK_PACE", "0.6"))
MAX_SECONDS = float(os.environ.get("STAR_SOAK_SECONDS", "inf"))
BURST = int(os.environ.get("STAR_SOAK_BURST", "1"))
SEED = int(os.environ.get("STAR_SOAK_SEED", str(time.time_ns() % 10**6)))
WORKERS = int(os.environ.get("STAR_SOAK_WORKERS", "3"))
PROGRAMS = os.environ.get("STAR_SOAK_PROGRAMS") == "1"
TINY_MODEL = PROJECT / "examples" / "carry" / "model"
REAL_JOB: dict[str, Any] = {
    "generation": {"max_tokens": 96},
    "audits": {"spark_level": None},  # eight held-out examples show little
    "training": {
        "schedule": {"kind": "linear", "start": 20, "add": 1},
        "batch_size": 8,
        "learning_rate": 1e-3,
        "checkpoint_every": 5,
        "lora": {"rank": 32, "alpha": 64},
    },
}
SHORT = {"max_attempts": 10_000, "sampler_script": "tests.faults.scripted_models:unhurried_pupil_of_all"}


def soak_through(faults: int, database_url: str, valkey_url: str, home: Path) -> None:
    """Break so many things, let all jobs end, and read the whole ledger."""
    print(f"STAR_SOAK_SEED={SEED} STAR_SOAK_FAULTS={faults} STAR_SOAK_PACE={PACE}")  # noqa: T201
    world = quick_world(database_url, home, **SHORT)
    with platform(world, valkey_url) as running:
        soak = Soak(running, SEED, PACE, WORKERS, burst=BURST, mixed=True, programs=PROGRAMS)
        seconds = soak.run(faults, most_seconds=MAX_SECONDS)
        ended = len(soak.jobs) + len(soak.deleted) - len(soak.unfinished())
        explained: list[int] = []
        soak.settle(lambda: explained.append(check_executions(world)))
        check(world, platform=running)
        with reading(world.engine) as session:
            refused = counters(session).get("fence_rejections", 0)
    print(f"{soak.done.total()} faults in {seconds:.0f} s: {dict(soak.done)}")  # noqa: T201
    said = f"{len(soak.jobs) + len(soak.deleted)} jobs, {ended} ended meanwhile, {len(soak.deleted)} deleted"
    print(f"{said}; {refused} effects refused by the fence; {explained[0]} executions")  # noqa: T201


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_while_a_dozen_things_break(
    postgresql_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    """A sample of the next test, with another seed every time."""
    soak_through(12, postgresql_database_url, empty_valkey_url, tmp_path / "home")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_is_lost_or_doubled_while_everything_breaks(
    database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    soak_through(FAULTS, database_url, empty_valkey_url, tmp_path / "home")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_without_the_fence_the_same_soak_fails(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    """The mutation test of the soak: `UNFENCED` workers leave out the one comparison with the fence."""
    print(f"STAR_SOAK_SEED={SEED} STAR_SOAK_FAULTS={FAULTS} STAR_SOAK_PACE={PACE}")  # noqa: T201
    world = quick_world(sqlite_database_url, tmp_path / "home", **SHORT)
    with platform(world, empty_valkey_url) as running:

        def intruded() -> bool:
            try:
                check_logs(world, running)
            except AssertionError:
                return True
            except ValueError:  # a line is half written
                return False
            return False

        soak = Soak(running, SEED, PACE, WORKERS, UNFENCED, mixed=True)
        soak.run(FAULTS, intruded)
        with pytest.raises(AssertionError, match="under fence") as found:
            check_logs(world, running)
    print(f"found after {soak.done.total()} faults: {found.value}")  # noqa: T201


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_is_lost_or_doubled_with_a_real_model_and_real_training(
    postgresql_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    """The tiny model of the addition task; a tenth of the faults, ten times slower."""
    faults, pace = max(1, FAULTS // 10), 10 * PACE
    print(f"STAR_SOAK_SEED={SEED}, {faults} faults, one every {pace} s")  # noqa: T201
    real = {"sampler": "transformers", "threads": 1, "shard_examples": 16, "max_attempts": 10_000}
    world = quick_world(postgresql_database_url, tmp_path / "home", **real)
    world.load_model(TINY_MODEL, context_length=1024)
    with platform(world, empty_valkey_url) as running:
        soak = Soak(running, SEED, pace, 2, jobs=1, **REAL_JOB)
        seconds = soak.run(faults)
        soak.settle()
        check(world, platform=running)
        outcomes = [world.job(job_id).stop_reason for job_id in soak.jobs]
    print(f"{soak.done.total()} faults in {seconds:.0f} s: {dict(soak.done)}; {outcomes}")  # noqa: T201
