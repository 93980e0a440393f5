"""B-STaR's control phase where answers are judged by programs: by tests, by a user's own, by a grader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.database import reading, transaction
from app.ledger.queue.capacity import note_sandbox, saw_worker
from app.ledger.queue.steps import claim_step
from app.tables.executions import Execution
from app.tables.jobs import Iteration
from app.tables.rationales import Rationale
from app.webhooks.secrets import grader_secret, server_secret
from star_engine.loop import PhaseName
from star_engine.sampling.rationales import Route
from star_engine.tasks.kind import Kind
from star_engine.tasks.programs.execution import using_runner
from tests.code_questions import JOB, with_code, with_questions
from tests.factories import TRAIN, VALIDATION, World, make_world
from tests.graders import grader
from tests.worker.sandbox.counted import Counted
from worker.sandbox.local import LocalRunner
from worker.shared_calls import work_on

PROBED = 4
CONTROLLED: dict[str, Any] = {
    "iterations": 1,
    "controller": {"temperatures": [0.5, 1.0], "probe_examples": PROBED},
    "generation": {"max_tokens": 200, "samples_per_example": 2},
    "training_set": {"filters": []},
    "rationalization": {"enabled": False},
    "audits": {"spark_level": None},
}
OWN = "def grade(example, answer):\n    return answer == example['answer']"


def with_products(world: World, kind: Kind) -> World:
    """The same world, asked for products of which its model knows every second one."""
    rows = [
        {"question": f"What is {17 + n} times {10 + n % 2}?", "answer": str((17 + n) * (10 + n % 2))}
        for n in range(TRAIN + VALIDATION)
    ]
    shown = {"question": "What is 3 times 4?", "answer": "12", "rationale": "It is 12.\n#### 12"}
    return with_questions(world, kind, rows, shown)


@contextmanager
def asked(kind: Kind, database_url: str, home: Path) -> Iterator[tuple[World, dict[str, Any]]]:
    """A world whose answers are judged so, and the settings of its job."""
    if kind is Kind.CODE:
        script = "tests.worker.sandbox.code_pupil:pupil"
        yield with_code(make_world(database_url, home, sampler_script=script)), {**JOB, **CONTROLLED}
        return
    more: dict[str, Any] = {"sampler_script": "tests.worker.sandbox.tool_pupil:pupil"}
    with grader() as running:
        if kind is Kind.REMOTE:
            more |= {"webhook_secret": "s" * 32, "webhook_allowed_hosts": [running.host]}
        world = with_products(make_world(database_url, home, **more), kind)
        if kind is Kind.REMOTE:
            running.secret = grader_secret(server_secret(world.settings), world.project_id)
        options = {"grader_url": running.url} if kind is Kind.REMOTE else {"program": OWN}
        yield world, {**CONTROLLED, "kind": kind.value, "verifier": options}


@pytest.mark.parametrize("kind", [Kind.CODE, Kind.PROGRAM, Kind.REMOTE])
def test_the_control_phase_judges_its_probes_by_programs_and_executes_none_twice(
    kind: Kind, sqlite_database_url: str, tmp_path: Path
) -> None:
    with (
        asked(kind, sqlite_database_url, tmp_path / "home") as (world, settings),
        closing(LocalRunner(1)) as runner,
    ):
        counted, context = Counted(runner), world.worker_context()
        with transaction(world.engine) as session:
            saw_worker(session, context.worker_id)
            note_sandbox(session, context.worker_id, None)
        job_id = world.submit(**settings)
        with using_runner(counted):
            while claim := claim_step(context.engine, context.worker_id, 60, context.warm_model):
                work_on(context, claim)
        context.drop_gpu()
        job = world.job(job_id)
        assert (job.status, job.stop_reason) == ("succeeded", "completed_iterations"), job.status_reason
        with reading(world.engine) as session:
            made = session.scalar(select(Iteration).where(Iteration.number == 1))
            verdicts = set(session.scalars(select(Rationale.verdict).where(Rationale.route == Route.PROBE)))
            in_control = select(func.count()).where(Execution.phase == PhaseName.CONTROL)
            executed = session.scalar(in_control)
    assert made is not None
    assert made.metrics["control"]["probed"] == PROBED
    assert verdicts == {"correct", "wrong"}
    assert executed
    assert set(counted.times.values()) <= {1}
