"""The log of a job says how each claim of its steps ended; stack traces are for operators."""

from __future__ import annotations

from sqlalchemy import func, select

from app.database import reading, transaction
from app.ledger.deletion.by_age import remove_by_age, set_rule
from app.ledger.jobs.logs import Level, LogFilter, list_logs
from app.ledger.queue.reaper import reap
from app.ledger.queue.steps import fail_step, release_step
from app.tables.jobs import Job, Step
from app.tables.logs import JobLog
from tests.app.ledger.deletion.test_by_age import age
from tests.app.ledger.ledger_driver import claim, do_step, finish_job
from tests.factories import World

FULL = {"code": "disk_full", "category": "platform", "message": "There is no space\0.", "hint": "Free some."}
BROKEN = {"code": "bad_artifact", "category": "platform", "message": "It is broken.", "hint": ""}


def logged(world: World, job_id: str, **wanted: object) -> list[JobLog]:
    with reading(world.engine) as session:
        return [*list_logs(session, job_id, LogFilter(**wanted), after=None, limit=1000)]  # type: ignore[arg-type]


def test_every_claim_that_ends_leaves_one_line(world: World) -> None:
    settings = world.settings.model_copy(update={"max_attempts": 9})
    job_id = world.submit(iterations=1)
    held = claim(world)
    with transaction(world.engine) as session:
        release_step(session, held)
    held = claim(world)
    with transaction(world.engine) as session:
        fail_step(session, held, FULL, retryable=True, settings=settings, trace="Traceback: line 1")
    claim(world, lease=-1)
    reap(world.engine, settings)
    finish_job(world)
    lines = logged(world, job_id)
    assert [(line.level, line.text.split(":")[0]) for line in lines[:3]] == [
        ("info", "Handed back"),
        ("warning", "Failed"),
        ("warning", "Lost"),
    ]
    assert lines[1].text == "Failed: There is no space\ufffd. (disk_full) Free some."
    assert [line.trace for line in lines if line.trace] == ["Traceback: line 1"]
    assert lines[0].worker == "worker:1"
    with reading(world.engine) as session:
        done = session.scalar(select(func.count()).select_from(Step).where(Step.status == "succeeded"))
    assert len([line for line in lines if line.text.startswith("Done")]) == done


def test_the_line_that_ended_a_job_is_an_error_and_lines_can_be_chosen(world: World) -> None:
    job_id = world.submit(iterations=1)
    do_step(world, claim(world))
    held = claim(world)
    with transaction(world.engine) as session:
        fail_step(session, held, BROKEN, retryable=False, settings=world.settings)
    assert [line.level for line in logged(world, job_id)] == ["info", "error"]
    assert [line.level for line in logged(world, job_id, level=Level.WARNING)] == ["error"]
    assert logged(world, job_id, phase="train") == []
    assert len(logged(world, job_id, iteration=0)) == 2


def test_lines_go_with_the_events(world: World) -> None:
    job_id = world.submit(iterations=1)
    finish_job(world)
    age(world, Job, job_id, "finished_at", 8)
    with transaction(world.engine) as session:
        set_rule(session, world.project_id, {"event_days": 7})
    remove_by_age(world.engine, 60)
    assert logged(world, job_id) == []
