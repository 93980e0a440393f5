"""A whole job through real Celery workers, a real scheduler and a real broker."""

from __future__ import annotations

from pathlib import Path

import redis
from sqlalchemy import select

from app.database import reading, transaction
from app.ledger.queue.capacity import fitting_workers
from app.tables.data import Model
from app.tables.platform import Worker
from tests.factories import MODEL, World, make_world
from tests.faults.checker import check
from tests.platforms import platform, wait_until
from worker.celery import celery_app
from worker.embedded import CELERY


def test_a_celery_worker_runs_a_whole_job(database_url: str, empty_valkey_url: str, tmp_path: Path) -> None:
    world = make_world(database_url, tmp_path / "home")
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker()
        job_id = world.submit()
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
    assert world.job(job_id).stop_reason == "completed_iterations"


def test_two_workers_and_two_schedulers_share_one_job(
    postgresql_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world = make_world(
        postgresql_database_url,
        tmp_path / "home",
        shard_examples=2,
        sampler_script="tests.factories:slow_pupil",
    )
    with platform(world, empty_valkey_url) as running:
        for number in (1, 2):
            running.scheduler(f"scheduler-{number}")
            running.worker(f"worker-{number}")
        job_id = world.submit(iterations=1)
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
        started = [event["log"] for event in running.log_events() if event["event"] == "step_started"]
    assert {*started} == {"worker-1", "worker-2"}
    assert len(started) == world.step_count(job_id)  # no step was worked on twice


def test_a_large_model_runs_on_the_worker_that_is_large_enough(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    """Its notifications reach that worker alone, and not by chance: they are sent once a minute at most."""
    world = make_world(sqlite_database_url, tmp_path / "home", redispatch_seconds=60)
    with transaction(world.engine) as session:
        session.get_one(Model, MODEL).gpu_memory_gib = 40
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker("small")
        running.worker("large", STAR_GPU_MEMORY_GIB="80")
        wait_until(lambda: fitting(world) == 1, "the large worker says that it is there")
        job_id = world.submit(iterations=1)
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)
        started = [event["log"] for event in running.log_events() if event["event"] == "step_started"]
    assert {*started} == {"large"}
    assert fitting(world) == 0, "workers that ended in good order are not counted on"


LATE = """
import sys
from pathlib import Path
from celery.bin.celery import main
from worker import tasks
from worker.gpu import seen

card, H100 = Path(sys.argv.pop()), seen.SeenGpu("NVIDIA H100 80GB HBM3", 85_520_809_984)
seen._look = lambda: (H100,) if card.exists() else ()
tasks.PRESENCE_SECONDS = 0.1
sys.exit(main())
"""


def test_a_worker_whose_gpu_is_seen_late_is_notified_as_what_it_is_by_then(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    world, card = make_world(sqlite_database_url, tmp_path / "home"), tmp_path / "card"
    command = ("-c", LATE, *CELERY[2:], str(card))
    with platform(world, empty_valkey_url) as running, redis.Redis.from_url(empty_valkey_url) as broker:
        running.worker("late", command, STAR_DEVICE="cuda")
        wait_until(lambda: classes(world) == [None], "it has seen no GPU")
        with celery_app.connection_for_write(empty_valkey_url) as connection:
            celery_app.send_task("run_step", ["step_x"], queue="celery.1x80.h100", connection=connection)
        assert broker.llen("star:celery.1x80.h100") == 1
        card.touch()
        wait_until(lambda: classes(world) == ["h100"], "it has seen its GPU")
        wait_until(lambda: broker.llen("star:celery.1x80.h100") == 0, "it listens to its queue")


def classes(world: World) -> list[str | None]:
    with reading(world.engine) as session:
        return list(session.scalars(select(Worker.gpu_class)))


def fitting(world: World) -> int:
    with reading(world.engine) as session:
        return fitting_workers(session, session.get_one(Model, MODEL))
