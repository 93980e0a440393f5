"""Killed, forked or shared by two workers: a job records what one does that nothing disturbs."""

from __future__ import annotations

from typing import Any

import pytest

from app.ledger.jobs.forks import ForkPoint
from app.ledger.queue.steps import Claim, claim_step
from tests.factories import World
from tests.faults.boundaries import Sleepers, armed
from tests.faults.conftest import quick_world
from tests.faults.recorded import recorded
from tests.platforms import platform
from worker.context import WorkerContext
from worker.shared_calls import work_on

PUPIL = "tests.app.quality.sampled_pupil:pupil"  # of two digits it is right now and then
TRIES = {
    "iterations": 2,
    "generation": {"max_tokens": 400, "temperature": 0.7, "samples_per_example": 4},
    "rationalization": {"enabled": False},
}
LEARNED = {"batch_size": 2, "schedule": {"kind": "fixed", "steps": 4}}
RANKED = {"evaluation": {"test_time": {"samples": 3, "scorer": "verifier"}}}
FROM_PREVIOUS = {"training": {"start_from": "previous", "schedule": {"kind": "fixed", "steps": 4}}}
# One of each that learns from wrong tries, too; a probe is a job of its own kind.
JOBS: dict[str, dict[str, Any]] = {
    "verifier": TRIES | RANKED | {"trained_verifier": LEARNED},
    "verifier_each": TRIES
    | RANKED
    | {"trained_verifier": LEARNED | {"when": "every_iteration", "reference": "first_iteration"}},
    "yes_no": TRIES | RANKED | {"trained_verifier": LEARNED | {"method": "yes_no"}},
    "stopped_verifier": TRIES
    | RANKED
    | {"training": {"checkpoint_every": 2}}
    | {"trained_verifier": LEARNED | {"held_out": 0.4, "stop": {"k": 3, "patience": 1}}},
    "preference": TRIES | FROM_PREVIOUS | {"preference": {}},
    "self_distillation": TRIES | FROM_PREVIOUS | {"self_distillation": {}},
    "faithfulness": TRIES | {"audits": {"faithfulness": 6, "sentences": 4}},
    "probe": TRIES | {"probe": 12},
}
VERIFIED = (
    *("pairs.before_record", "pairs.after_finish", "train_verifier.step@2", "train_verifier.before_finish"),
    *("verify_verifier.progress", "verify_verifier.after_finish"),
    *("test_time.after_record@3", "test_time.before_finish"),
)
KILLS = {  # at the boundaries of the phases that the job has and STaR has not
    "verifier": VERIFIED,
    "verifier_each": VERIFIED,
    "yes_no": tuple(one for one in VERIFIED if one != "pairs.before_record"),
    "stopped_verifier": VERIFIED,
    "preference": ("pairs.before_record", "pairs.after_record@2", "pairs.after_finish", "train.step@2"),
    "self_distillation": ("train.before_training", "train.step@2", "train.before_finish"),
    "faithfulness": ("faithfulness.progress@2", "faithfulness.before_finish", "faithfulness.after_finish"),
    "probe": ("probe.before_record@2", "probe.after_record@3", "probe.before_finish", "probe.after_finish"),
}
IN_THE_SUITE = "preference"
REST = [pytest.param(one, marks=pytest.mark.long) if one != IN_THE_SUITE else one for one in JOBS]
TAKEN_OVER = [one for one in JOBS if one != "probe"]  # which is never forked
FORKED = [pytest.param(one, marks=pytest.mark.long) if one != "verifier_each" else one for one in TAKEN_OVER]


@pytest.fixture
def world(sqlite_database_url: str, tmp_path: Any) -> World:
    return quick_world(sqlite_database_url, tmp_path / "home", sampler_script=PUPIL)


def claim(world: World, worker: WorkerContext) -> Claim | None:
    return claim_step(world.engine, worker.worker_id, 60)


def undisturbed(world: World, name: str, **changes: Any) -> str:
    """Run a job to its end by one worker; returns its id."""
    job_id, worker = world.submit(**JOBS[name], **changes), world.worker_context()
    try:
        while held := claim(world, worker):
            work_on(worker, held)
    finally:
        worker.drop_gpu()
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    return job_id


@pytest.mark.parametrize("name", REST)
def test_a_job_killed_at_its_own_phases_records_what_an_undisturbed_one_does(
    name: str, world: World, empty_valkey_url: str
) -> None:
    whole = recorded(world, undisturbed(world, name))
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker(STAR_FAILPOINTS=armed("kill", KILLS[name]))
        job_id = world.submit(**JOBS[name])
        running.wait_for(job_id, "succeeded", seconds=280, meanwhile=Sleepers(running).wake)
        fired = {path.name for path in running.fired.iterdir()}
    assert fired == {point.partition("@")[0] for point in KILLS[name]}
    assert recorded(world, job_id) == whole


@pytest.mark.parametrize("name", FORKED)
def test_a_fork_records_what_its_source_does_from_there_on(name: str, world: World) -> None:
    source = undisturbed(world, name)
    fork = undisturbed(world, name, fork=ForkPoint(source, 1))
    assert recorded(world, fork) == recorded(world, source)


@pytest.mark.parametrize("name", REST)
def test_two_workers_record_what_one_does(name: str, world: World) -> None:
    """The second one begins first with each second step, so that rows come in another order, too."""
    whole = recorded(world, undisturbed(world, name))
    job_id = world.submit(**JOBS[name])
    workers = [world.worker_context(f"worker:{number}") for number in (1, 2)]
    both = 0
    try:
        while held := [(worker, found) for worker in workers if (found := claim(world, worker))]:
            both += len(held) == len(workers)
            for worker, found in reversed(held):
                work_on(worker, found)
    finally:
        for worker in workers:
            worker.drop_gpu()
    assert both > 0, "the steps of a phase are held by both"
    assert recorded(world, job_id) == whole
