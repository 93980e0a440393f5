"""Random histories of jobs, workers and faults: whatever happens, in whatever order, the ledger is right."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select, update

from app.database import clock, reading, transaction
from app.errors import Conflict
from app.ledger.jobs.jobs import cancel_job, get_job, pause_job, resume_job
from app.ledger.jobs.retry import retry_job
from app.ledger.queue.reaper import notify_again, reap
from app.ledger.queue.steps import Claim, Fenced, claim_step, fail_step, finish_step, heartbeat, release_step
from app.tables.jobs import Iteration, Job, Step
from star_engine.data.adaptive import selected_from
from tests.app.ledger.ledger_driver import EFFECTS
from tests.databases import migrate
from tests.factories import World, make_world
from tests.faults.checker import check

MAX_JOBS = 3
ERROR = {"code": "broken", "category": "platform", "message": "broken", "hint": ""}
# A job with a control phase, and with waves of sampling: its first one does not have the rows.
STEERED: dict[str, Any] = {
    "controller": {"temperatures": [0.5, 1.0], "probe_examples": 2},
    "generation": {"samples_per_example": 2, "temperature": 0.7},
    "selection": {"order": "adaptive", "rows": 20},
}
TEMPLATE = Path(tempfile.mkdtemp(prefix="star-machine-")) / "template.db"


class JobMachine(RuleBasedStateMachine):
    """Workers keep every claim that they ever got, and go on using the ones that they have lost."""

    @initialize()
    def make(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="star-machine-"))
        if not TEMPLATE.exists():
            migrate(f"sqlite:///{TEMPLATE}")
        shutil.copy(TEMPLATE, self.home / "star.db")
        self.world: World = make_world(
            f"sqlite:///{self.home / 'star.db'}", self.home, max_attempts=3, retry_seconds=0.001
        )
        self.claims: list[Claim] = []
        self.jobs: list[str] = []
        self.submit()

    def teardown(self) -> None:
        self.world.engine.dispose()
        shutil.rmtree(self.home)

    @precondition(lambda self: len(self.jobs) < MAX_JOBS)
    @rule(steered=st.booleans())
    def submit_another(self, *, steered: bool) -> None:
        self.submit(STEERED if steered else {})

    def submit(self, more: dict[str, Any] = STEERED) -> None:
        self.jobs.append(self.world.submit(**{"iterations": 1, **more}))

    @rule(worker=st.integers(1, 3))
    def claim(self, worker: int) -> None:
        found = claim_step(self.world.engine, f"worker:{worker}", 60)
        if found is not None:
            self.claims.append(found)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), finish=st.booleans())
    def work(self, data: st.DataObject, finish: bool) -> None:
        """Record a step's effects, and perhaps die before its end."""
        held = data.draw(st.sampled_from(self.claims))
        with suppress(Fenced):
            EFFECTS[held.phase](self.world, held)
            if finish:
                with transaction(self.world.engine) as session:
                    finish_step(session, held, self.world.settings)

    @rule()
    def work_through(self) -> None:
        """One honest worker does what is queued, so that histories get far."""
        for _ in range(4):
            held = claim_step(self.world.engine, "worker:0", 60)
            if held is None:
                return
            EFFECTS[held.phase](self.world, held)
            with transaction(self.world.engine) as session:
                finish_step(session, held, self.world.settings)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), how=st.sampled_from(["beat", "back", "fail", "fail for good", "platform"]))
    def touch(self, data: st.DataObject, how: str) -> None:
        held = data.draw(st.sampled_from(self.claims))
        with suppress(Fenced), transaction(self.world.engine) as session:
            if how == "beat":
                heartbeat(session, held, {"done": 1}, 60)
            elif how == "back":
                release_step(session, held)
            else:
                retryable = how == "fail"
                fail_step(
                    session,
                    held,
                    ERROR,
                    retryable=retryable,
                    settings=self.world.settings,
                    passes=how == "platform",
                )

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def lose_a_worker(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.claims))
        with transaction(self.world.engine) as session:
            lost = update(Step).where(Step.id == held.step_id, Step.status == "running")
            session.execute(lost.values(lease_until=clock(-1)))
        reap(self.world.engine, self.world.settings)
        notify_again(self.world.engine, self.world.settings)

    @rule(data=st.data(), verb=st.sampled_from(["cancel", "pause", "resume", "resume", "retry", "retry"]))
    def ask(self, data: st.DataObject, verb: str) -> None:
        job_id = data.draw(st.sampled_from(self.jobs))
        with suppress(Conflict), transaction(self.world.engine) as session:
            job = get_job(session, self.world.project_id, job_id)
            if verb == "resume":
                resume_job(session, job, self.world.settings)
            elif verb == "retry":
                retry_job(session, job, self.world.settings)
            else:
                {"cancel": cancel_job, "pause": pause_job}[verb](session, job)

    @invariant()
    def ledger_is_right(self) -> None:
        check(self.world, at_rest=False)

    @invariant()
    def what_is_sampled_is_what_was_selected(self) -> None:
        """Each wave is planned once, and goes on where the one before ended."""
        with reading(self.world.engine) as session:
            recorded = select(Iteration).where(Iteration.number == 1, Iteration.selection.is_not(None))
            for one in session.scalars(recorded):
                of_phase = select(Step.work).where(Step.job_id == one.job_id, Step.phase == "sample")
                parts = sorted((work["start"], work["stop"]) for work in session.scalars(of_phase))
                selected = selected_from(one.selection or {})
                if parts:
                    assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
                    assert parts[-1][1] == len(selected.positions)
                    assert len(set(selected.positions)) == len(selected.positions)

    @invariant()
    def every_open_job_can_go_on(self) -> None:
        """Nothing waits for something that cannot come."""
        with reading(self.world.engine) as session:
            for job in session.scalars(select(Job)):
                open_steps = set(session.scalars(select(Step.status).where(Step.job_id == job.id)))
                if job.status in ("queued", "running"):
                    assert open_steps & {"queued", "running"}, f"{job.id} is {job.status} for ever"
                if job.status in ("pausing", "cancelling"):
                    assert "running" in open_steps, f"{job.id} is {job.status} for ever"


def run(examples: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    checks = list(HealthCheck)
    chosen = settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=checks,
        print_blob=True,
    )
    run_state_machine_as_test(JobMachine, settings=chosen)


def test_random_histories_leave_a_ledger_that_adds_up() -> None:
    run(examples=10)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_random_histories_leave_a_ledger_that_adds_up() -> None:
    run(examples=400)  # 12,000 steps
