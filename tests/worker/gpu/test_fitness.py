"""Workers with sick GPUs claim nothing and say why; their steps are done elsewhere. The GPU is scripted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.database import clock, reading, transaction
from app.ledger.queue.capacity import saw_worker
from app.ledger.queue.quarantine import release, sick_because
from app.tables.jobs import Step
from tests.factories import SCRIPT, World, make_world
from worker.context import WorkerContext
from worker.gpu.fitness import Fitness
from worker.gpu.process import GpuFailed
from worker.lease import Lease
from worker.settle import stop
from worker.shared_calls import work_on
from worker.tracing.claims import claim_next

BROKEN = "tests.worker.gpu_scripts:lost"
Make = Callable[..., WorkerContext]


class SelfTest:
    """Says in turn what it was told to say; the last for good."""

    def __init__(self, *said: str | None) -> None:
        self.said = list(said) or [None]
        self.calls = 0

    def __call__(self) -> str | None:
        self.calls += 1
        return self.said.pop(0) if len(self.said) > 1 else self.said[0]


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    return make_world(database_url, tmp_path / "home", device="cuda", max_attempts=3)


@pytest.fixture
def make(world: World) -> Iterator[Make]:
    made: list[WorkerContext] = []

    def one(name: str, self_test: SelfTest, script: str = SCRIPT, **settings: object) -> WorkerContext:
        worker = world.worker_context(name)
        worker.settings = worker.settings.model_copy(update={"sampler_script": script, **settings})
        worker.fitness = Fitness(worker.engine, worker.settings, name, self_test)
        with transaction(world.engine) as session:
            saw_worker(session, name)
        made.append(worker)
        return worker

    yield one
    for worker in made:
        worker.drop_gpu()


def work(worker: WorkerContext, steps: int) -> int:
    """Do so many steps at most; how many it was given."""
    for done in range(steps):
        claim = claim_next(worker)
        if claim is None:
            return done
        work_on(worker, claim)
    return steps


def fail(worker: WorkerContext, steps: int) -> int:
    """Claim so many steps at most, whose GPU process fails at once; how many there were."""
    for done in range(steps):
        claim = claim_next(worker)
        if claim is None:
            return done
        lease = Lease(worker.engine, worker.settings, claim, worker.draining)
        stop(worker, claim, lease, GpuFailed("CUDA error: unspecified launch failure", "last words"))
    return steps


def why_sick(world: World, name: str) -> str | None:
    with reading(world.engine) as session:
        return sick_because(session, name)


def let_patience_end(world: World) -> None:
    with transaction(world.engine) as session:
        session.execute(update(Step).values(failed_at=clock(-600)))


def test_a_worker_that_fails_its_self_test_claims_nothing_and_says_why(world: World, make: Make) -> None:
    world.submit()
    worker = make("sick:1", SelfTest("cuda:0: CUDA error: no kernel image is available"))
    assert claim_next(worker) is None
    assert why_sick(world, "sick:1") == (
        "The self-test failed: cuda:0: CUDA error: no kernel image is available"
    )
    assert claim_next(make("well:1", SelfTest())) is not None


def test_a_worker_that_is_released_tests_itself_again_and_goes_on(world: World, make: Make) -> None:
    world.submit()
    self_test = SelfTest("broken", "still broken", None)
    worker = make("sick:1", self_test)
    assert claim_next(worker) is claim_next(worker) is None
    assert self_test.calls == 1
    for calls in (2, 3):
        with transaction(world.engine) as session:
            assert release(session, "sick:1") is not None
        assert (claim_next(worker) is not None) == (calls == 3)
        assert self_test.calls == calls
    assert why_sick(world, "sick:1") is None


def test_a_sick_worker_passes_its_notification_on_and_waits(
    world: World, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker import tasks

    passed_on = []

    def publish(step_id: str) -> None:
        passed_on.append(step_id)
        with transaction(world.engine) as session:
            release(session, "sick:1")

    worker = make("sick:1", SelfTest("broken", None))
    monkeypatch.setattr(tasks, "publish", publish)
    monkeypatch.setattr(tasks, "worker_context", lambda: worker)
    tasks.run_step("step_1")
    assert passed_on == ["step_1"]
    assert not worker.fitness.sick


def test_two_jobs_that_fail_here_and_nowhere_else_quarantine_the_worker(world: World, make: Make) -> None:
    jobs = [world.submit(), world.submit()]
    self_test = SelfTest()
    well, worker = make("well:1", SelfTest()), make("sick:1", self_test)
    failed = fail(worker, 9)
    assert failed < 9
    assert why_sick(world, "sick:1") is not None
    assert all(job in (why_sick(world, "sick:1") or "") for job in jobs)
    assert self_test.calls == failed  # before each claim that follows a failure
    assert [world.job(job).status for job in jobs] == ["running", "running"]
    assert claim_next(well) is not None


def test_a_failure_that_the_self_test_confirms_is_enough(world: World, make: Make) -> None:
    world.submit()
    worker = make("sick:1", SelfTest(None, "CUDA error: uncorrectable ECC error"), BROKEN)
    assert work(worker, 2) == 1
    assert "uncorrectable ECC" in (why_sick(world, "sick:1") or "")


def test_a_step_that_failed_here_is_left_to_others_for_a_while(world: World, make: Make) -> None:
    job = world.submit()
    broken = make("sick:1", SelfTest(), quarantine_after=0)
    assert fail(broken, 9) >= 3  # alone, it takes the same step again, until the job fails
    assert world.job(job).status == "failed"
    world.submit()
    well = make("well:1", SelfTest())
    steps = fail(broken, 9)
    with reading(world.engine) as session:
        left = select(Step.id).where(Step.status == "queued", Step.failed_on == "sick:1", Step.attempt == 1)
        assert len(list(session.scalars(left))) == steps
    let_patience_end(world)
    assert fail(broken, 1) == 1
    assert claim_next(well) is not None


def test_jobs_that_fail_everywhere_quarantine_nobody(world: World, make: Make) -> None:
    """They break the GPU process wherever they run."""
    one, other = make("a:1", SelfTest()), make("b:1", SelfTest())
    for _ in range(3):
        job = world.submit()
        while world.job(job).status != "failed":
            assert fail(one, 1) + fail(other, 1)
            let_patience_end(world)
    assert (why_sick(world, "a:1"), why_sick(world, "b:1")) == (None, None)


def test_a_step_done_between_two_failures_clears_the_first(world: World, make: Make) -> None:
    fitness = make("a:1", SelfTest()).fitness
    job = world.submit()
    with reading(world.engine) as session:
        steps = list(session.scalars(select(Step.id).where(Step.job_id == job)))
    with transaction(world.engine) as session:
        session.execute(update(Step).values(failed_on="a:1", failed_at=clock()))
    fitness.failed("job_1", steps[0])
    fitness.succeeded()
    fitness.failed("job_2", steps[1])
    assert not fitness.sick
    fitness.failed("job_1", steps[0])
    assert fitness.sick


def test_a_worker_on_the_cpu_is_never_tested(world: World, make: Make) -> None:
    world.submit()
    self_test = SelfTest("broken")
    worker = make("cpu:1", self_test, device="cpu")
    assert fail(worker, 3) == 3
    assert self_test.calls == 0
    assert why_sick(world, "cpu:1") is None
