"""Where jobs stand in the queue and why they wait; what is left of them by what was recorded before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from app.database import clock, reading, transaction
from app.jobs.workload import workload
from app.ledger.jobs.facts import progress_of
from app.ledger.jobs.jobs import cancel_job, pause_job
from app.ledger.queue.capacity import saw_worker
from app.ledger.queue.estimates import History, Left, Span, Unknown, read_history, what_is_left, what_it_takes
from app.ledger.queue.eta import Outlook, outlooks
from app.tables.data import Dataset, Model
from app.tables.jobs import Job, Step
from app.tables.platform import Worker
from star_engine.config.star import StarConfig
from star_engine.loop import PhaseName
from tests.app.ledger.ledger_driver import claim, finish_job
from tests.factories import CONFIG, MODEL, TRAIN, VALIDATION, World
from tests.star_engine.addition import ADDITION, additions


def outlook(world: World, *job_ids: str) -> Sequence[Outlook]:
    with reading(world.engine) as session:
        jobs = [session.get_one(Job, job_id) for job_id in job_ids]
        found = outlooks(session, jobs, progress_of(session, job_ids))
        return [found[job_id] for job_id in job_ids if job_id in found]


def why(world: World, job_id: str) -> tuple[int | None, int | None, str]:
    (one,) = outlook(world, job_id)
    return one.place.position, one.place.steps_ahead, one.place.reason


def worker_lives(world: World, name: str = "worker:1") -> None:
    with transaction(world.engine) as session:
        saw_worker(session, name)


def each_step_took(world: World, seconds: float) -> None:
    """As if every finished step had begun so long ago."""
    with transaction(world.engine) as session:
        done = Step.status == "succeeded"
        session.execute(update(Step).where(done).values(started_at=clock(-seconds), finished_at=clock()))


def test_job_waits_for_a_first_worker_then_for_one_that_fits_then_for_nothing(world: World) -> None:
    job_id = world.submit()
    assert why(world, job_id) == (1, 0, "no_worker")
    worker_lives(world)
    assert why(world, job_id) == (1, 0, "next")
    with transaction(world.engine) as session:
        session.get_one(Model, MODEL).gpus = 4
    assert why(world, job_id) == (1, 0, "no_fitting_worker")
    with transaction(world.engine) as session:
        session.execute(delete(Worker))
    assert why(world, job_id) == (1, 0, "no_worker")


def test_jobs_behind_a_busy_worker_know_how_much_is_before_them(world: World) -> None:
    first, second, third = (world.submit() for _ in range(3))
    claim(world)
    (one,) = outlook(world, first)
    assert (one.place.reason, one.place.position) == ("running", None)
    assert one.place.message == "1 step of it is being worked on."
    # 4 steps of baselines each; the first job has 3 of them left in the queue
    assert why(world, second) == (2, 3, "workers_busy")
    assert why(world, third) == (3, 7, "workers_busy")
    (one,) = outlook(world, third)
    assert one.place.message == "1 of 1 workers are busy and 7 steps are before it."
    with transaction(world.engine) as session:
        session.execute(update(Step).where(Step.job_id == third).values(priority=5))
    assert why(world, third) == (1, 0, "workers_busy")


def test_paused_and_ended_jobs_wait_for_no_worker(world: World) -> None:
    paused, cancelled = world.submit(), world.submit()
    with transaction(world.engine) as session:
        pause_job(session, session.get_one(Job, paused))
        cancel_job(session, session.get_one(Job, cancelled))
    (one,) = outlook(world, paused, cancelled)
    assert (one.place.reason, one.place.position) == ("paused", None)
    assert (one.start_at, one.end_at) == (None, None)
    assert one.unknown is not None
    assert one.unknown.code == "paused"


def test_nothing_is_estimated_without_a_record(world: World) -> None:
    job_id = world.submit()
    worker_lives(world)
    (one,) = outlook(world, job_id)
    assert one.unknown is not None
    assert (one.unknown.code, one.end_at) == ("no_history", None)
    assert MODEL in one.unknown.message


def test_estimate_is_the_work_left_at_the_recorded_rates(world: World) -> None:
    world.submit()
    finish_job(world)
    each_step_took(world, 12.0)
    with reading(world.engine) as session:
        history = read_history(session, [MODEL])
        config = StarConfig.model_validate(CONFIG)
        splits = session.get_one(Dataset, world.dataset_id).splits
        left = what_it_takes(history, MODEL, config, splits)
    assert isinstance(left, Left)
    # Held out: 8 examples in shards of 4 at 12 s; train: 16 in shards of 5 or 6 at 12 s.
    work = {phase: span.expected for phase, span in left.work}
    assert work[PhaseName.BASELINES] == pytest.approx(2 * VALIDATION * 12 / 4, rel=0.01)
    assert 16 * 12 / 6 * 0.99 <= work[PhaseName.SAMPLE] <= TRAIN * 12 / 5 * 1.01
    assert work[PhaseName.VERIFY_ADAPTER] == pytest.approx(12, rel=0.01)
    assert [phase for phase, _ in left.work].count(PhaseName.TRAIN) == 2
    on_gpu = sum(span.expected for phase, span in left.work if phase is not PhaseName.BUILD)
    assert left.gpu_seconds.expected == pytest.approx(on_gpu)
    assert left.gpu_seconds.low <= left.gpu_seconds.expected <= left.gpu_seconds.high
    assert left.seconds(4).expected < left.seconds(1).expected
    assert left.seconds(1).expected == pytest.approx(sum(work_of(left)))
    tool = {"rationalization": {"enabled": False}, "tools": {"python": {}}, "hints": {}}
    asked_thrice = what_it_takes(history, MODEL, StarConfig.model_validate(CONFIG | tool), splits)
    assert isinstance(asked_thrice, Left)
    thrice = {phase: span.expected for phase, span in asked_thrice.work}
    assert thrice[PhaseName.EVALUATE] == pytest.approx(3 * work[PhaseName.EVALUATE])


def test_the_probes_of_a_controller_are_estimated_and_counted_among_the_tries() -> None:
    steered = {
        "generation": {"samples_per_example": 4, "temperature": 0.7},
        "controller": {"temperatures": [0.5, 0.8, 1.1], "probe_examples": 5, "rows_wanted": 2},
    }
    config = StarConfig.model_validate(CONFIG | steered)
    splits = {"train": 16, "validation": 8}
    rates = {(MODEL, str(phase)): [2.0, 2.0] for phase in PhaseName}
    left = what_it_takes(History(rates, []), MODEL, config, splits)
    assert isinstance(left, Left)
    probes = 3 * 5 * 4
    control = [span.expected for phase, span in left.work if phase is PhaseName.CONTROL]
    assert control == [2.0 * probes] * 2
    plain = config.model_copy(update={"controller": None})
    with_probes, without = (
        workload(one, splits, ADDITION, additions(digits=(1,), each=3), None) for one in (config, plain)
    )
    assert with_probes.tries - without.tries == 2 * probes


def work_of(left: Left) -> list[float]:
    return [span.expected for _, span in left.work]


def test_what_is_done_is_not_estimated_again(world: World) -> None:
    world.submit()
    finish_job(world)
    each_step_took(world, 12.0)
    job_id = world.submit()

    def left(**progress: Any) -> Span:
        with reading(world.engine) as session:
            job = session.get_one(Job, job_id)
            splits = session.get_one(Dataset, world.dataset_id).splits
            found = what_is_left(read_history(session, [MODEL]), job, splits, progress)
        assert isinstance(found, Left)
        return found.gpu_seconds

    whole, half = left(), left(done=8, total=16)
    assert whole.expected - half.expected == pytest.approx(2 * VALIDATION * 12 / 4 / 2, rel=0.01)


def test_running_job_is_told_its_end_and_a_waiting_one_its_start(world: World) -> None:
    world.submit()
    finish_job(world)
    each_step_took(world, 60.0)
    running, waiting = world.submit(), world.submit()
    claim(world)
    one, other = outlook(world, running, waiting)
    assert (one.unknown, other.unknown, one.start_at) == (None, None, None)
    assert one.end_at is not None
    assert other.start_at is not None
    assert other.end_at is not None
    assert other.start_at < other.end_at
    with reading(world.engine) as session:
        assert one.end_at > session.scalars(select(clock())).one()


def test_other_models_tell_nothing_of_this_one(world: World) -> None:
    world.submit()
    finish_job(world)
    with reading(world.engine) as session:
        found = what_it_takes(
            read_history(session, ["other"]), "other", StarConfig.model_validate(CONFIG), {"train": 5}
        )
    assert isinstance(found, Unknown)
    assert found.code == "no_history"
