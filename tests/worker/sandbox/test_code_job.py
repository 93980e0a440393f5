"""A job of kind code: programs are executed in the sandbox, and only by workers that have one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from app.database import reading, transaction
from app.ledger.queue.capacity import note_sandbox, saw_worker
from app.ledger.queue.steps import claim_step
from app.ledger.results.executions import executed
from app.tables.data import Dataset, Example, PromptSet
from app.tables.jobs import Event, Iteration
from app.tables.rationales import Rationale
from star_engine.data.readers import read_example
from star_engine.tasks.kind import Kind
from star_engine.tasks.programs.execution import Execution, Program, SandboxFailed, using_runner
from tests.code_questions import code_row
from tests.factories import World, make_world
from tests.worker.sandbox.counted import Counted
from worker.context import WorkerContext
from worker.ledger_record import LedgerRecord
from worker.sandbox.local import LocalRunner
from worker.sandbox.unrunnable import executions
from worker.shared_calls import work_on

TRAIN, HELD_OUT = 8, 4


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    script = "tests.worker.sandbox.code_pupil:pupil"
    world = make_world(database_url, tmp_path / "home", sampler_script=script, retry_seconds=0.01)
    with transaction(world.engine) as session:
        session.execute(delete(Example))
        dataset = session.get_one(Dataset, world.dataset_id)
        dataset.kind, dataset.splits = Kind.CODE, {"train": TRAIN, "validation": HELD_OUT}
        prompt_set = session.get_one(PromptSet, world.prompt_set_id)
        shown = {**code_row(100), "answer": read_example(code_row(100), Kind.CODE).answer}
        prompt_set.kind = Kind.CODE
        prompt_set.examples = [
            {
                "question": shown["question"],
                "answer": shown["answer"],
                "choices": None,
                "group": None,
                "rationale": "Add it.\n```python\ndef f(x):\n    return x + 100\n```",
            }
        ]
        for number in range(TRAIN + HELD_OUT):
            split, position = ("train", number) if number < TRAIN else ("validation", number - TRAIN)
            read = read_example(code_row(number), Kind.CODE)
            session.add(
                Example(
                    dataset_id=world.dataset_id,
                    split=split,
                    position=position,
                    external_id=f"e{number}",
                    question=read.question,
                    answer=read.answer,
                )
            )
    return world


@pytest.fixture
def context(world: World) -> Iterator[WorkerContext]:
    context = world.worker_context()
    yield context
    context.drop_gpu()


def submit(world: World) -> str:
    options = {"verifier": {"code_timeout_s": 1}, "training_set": {"filters": []}}
    return world.submit(kind="code", iterations=1, **options)


def work_until_ended(world: World, context: WorkerContext, job_id: str) -> None:
    """Also what waits a moment before it is tried again."""
    deadline = time.monotonic() + 120
    while world.job(job_id).finished_at is None:
        assert time.monotonic() < deadline
        work_until_idle(context)


def work_until_idle(context: WorkerContext) -> None:
    while (claim := claim_step(context.engine, context.worker_id, 60, context.warm_model)) is not None:
        work_on(context, claim)


def say_sandbox(context: WorkerContext, problem: str | None) -> None:
    with transaction(context.engine) as session:
        saw_worker(session, context.worker_id)
        note_sandbox(session, context.worker_id, problem)


@dataclass
class Failing:
    """A sandbox that fails at the first requests, and always at programs with a certain text."""

    behind: LocalRunner
    first: int = 0  # requests that it fails at
    at: str = "\0"  # what it cannot run
    failures: int = 0

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        if self.failures < self.first:
            self.failures += 1
            raise SandboxFailed("restarted")
        for program in programs:
            if self.at in program.code:
                self.failures += 1
                raise SandboxFailed("no answer")
            yield from self.behind.run([program], owner)


def test_a_job_of_programs_runs_to_a_verified_adapter(world: World, context: WorkerContext) -> None:
    job_id = submit(world)
    say_sandbox(context, None)
    with closing(LocalRunner(2)) as runner, using_runner(runner):
        work_until_idle(context)
    job = world.job(job_id)
    assert (job.status, job.stop_reason) == ("succeeded", "completed_iterations"), job.status_reason
    with reading(world.engine) as session:
        before, after = session.scalars(select(Iteration).order_by(Iteration.number)).all()
        rules = dict(session.execute(select(Rationale.rule, Rationale.verdict)).all())
    assert before.metrics["accuracy"] == 0.5
    assert after.metrics["accuracy"] == 1.0
    assert after.metrics["coverage"] == {"generated": 0.5, "rationalized": 0.5, "total": 1.0}
    assert rules.keys() == {"tests", "timeout"}
    assert rules["timeout"] == "wrong"


def test_no_program_is_executed_twice_though_its_step_is_done_again(
    world: World, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(world)
    say_sandbox(context, None)
    with closing(LocalRunner(2)) as behind, using_runner(counted := Counted(behind)):
        begun = LedgerRecord.add_tries

        def fail_once(record: LedgerRecord, batch: Any) -> None:
            monkeypatch.setattr(LedgerRecord, "add_tries", begun)
            raise OSError("lost before it was recorded")

        monkeypatch.setattr(LedgerRecord, "add_tries", fail_once)
        work_until_ended(world, context, first)
        second = world.submit(
            kind="code", iterations=1, seed=5, verifier={"code_timeout_s": 1}, training_set={"filters": []}
        )
        work_until_idle(context)
    assert {world.job(first).status, world.job(second).status} == {"succeeded"}
    assert set(counted.times.values()) == {1}
    with reading(world.engine) as session:
        count, seconds = executed(session, first)
        assert executed(session, second)[0] == 0
    assert (count, seconds > 0) == (len(counted.times), True)


def test_a_worker_without_a_sandbox_takes_no_step_of_such_a_job(world: World, context: WorkerContext) -> None:
    submit(world)
    assert claim_step(context.engine, context.worker_id, 60, None) is None
    say_sandbox(context, "No Landlock.")
    assert claim_step(context.engine, context.worker_id, 60, None) is None
    say_sandbox(context, None)
    assert claim_step(context.engine, context.worker_id, 60, None) is not None


def test_a_sandbox_that_fails_is_waited_out_and_is_no_verdict(world: World, context: WorkerContext) -> None:
    job_id = submit(world)
    say_sandbox(context, None)
    with closing(LocalRunner(2)) as behind, using_runner(failing := Failing(behind, first=4)):
        work_until_ended(world, context, job_id)
    assert failing.failures == 4
    assert world.job(job_id).status == "succeeded"
    with reading(world.engine) as session:
        assert "error" not in set(session.scalars(select(Rationale.verdict)))
        waited = session.scalars(select(Event).where(Event.type == "step.retried")).all()
    assert {event.data["code"] for event in waited} == {"sandbox_failed"}


def test_a_program_that_always_breaks_the_sandbox_is_wrong_and_its_job_ends(
    world: World, context: WorkerContext
) -> None:
    job_id = submit(world)
    say_sandbox(context, None)
    with closing(LocalRunner(2)) as behind, using_runner(failing := Failing(behind, at="return x + 3")):
        work_until_ended(world, context, job_id)
    assert failing.failures >= 3
    assert world.job(job_id).status == "succeeded"
    with reading(world.engine) as session:
        broken = select(Rationale.verdict, Rationale.rule).where(Rationale.text.contains("return x + 3\n"))
        assert set(session.execute(broken).all()) == {("wrong", "error")}
        assert not session.scalars(select(Event).where(Event.type == "step.retried")).all()


def test_programs_after_one_that_breaks_the_sandbox_are_executed_in_their_order() -> None:
    programs = [Program(f"print({number})", ("",)) for number in (1, 7, 2, 7, 3)]
    with closing(LocalRunner(2)) as behind:
        found = list(executions(Failing(behind, at="7"), programs))
        assert [one.status for one in found] == ["ok", "error", "ok", "error", "ok"]
        assert [one.runs[0].stdout for one in found if one.runs] == ["1\n", "2\n", "3\n"]
        with pytest.raises(SandboxFailed):
            list(executions(Failing(behind, first=9), programs))
