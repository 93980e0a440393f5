"""What is older than a project wants to keep is removed; what it was, used and measured stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from app.database import clock, new_id, reading, transaction
from app.errors import Conflict, Gone
from app.ledger.deletion import by_age, remove
from app.ledger.deletion.by_age import remove_by_age, set_rule
from app.ledger.events import list_events
from app.ledger.jobs.jobs import get_job, job_with_texts
from app.ledger.jobs.report import read_report
from app.ledger.jobs.retry import retry_job
from app.tables.audit import AuditEntry
from app.tables.base import Base
from app.tables.files import File
from app.tables.jobs import Event, Iteration, Job
from app.tables.rationales import Adapter, Evaluation, Rationale, TrainingExample
from tests.app.ledger.ledger_driver import claim, do_step, finish_job
from tests.factories import World
from tests.faults.checker import check

TEXTS = (Rationale, TrainingExample)
# Tables of a job without a column that people or models wrote to; what names or counts is no text.
WITHOUT_TEXTS = {
    *(
        "adapters",
        "fine_tuning_jobs",
        "idempotency_keys",
        "iterations",
        "promotions",
        "question_curves",
        "share_links",
        "steps",
    ),
    *("studies", "study_ratings", "training_curves", "verifier_curves", "webhook_deliveries", "webhooks"),
}
AS_EVENTS = {"events", "job_logs"}  # which have an age of their own


def keep(world: World, **days: int | None) -> None:
    with transaction(world.engine) as session:
        set_rule(session, world.project_id, days)


def finished(world: World, days_ago: float) -> str:
    job_id = world.submit(iterations=1)
    finish_job(world)
    age(world, Job, job_id, "finished_at", days_ago)
    return job_id


def age(world: World, table: Any, name: str, column: str, days: float) -> None:
    with transaction(world.engine) as session:
        setattr(session.get_one(table, name), column, clock(-days * by_age.DAY))


def count(world: World, *tables: Any) -> list[int]:
    with reading(world.engine) as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def texts(world: World) -> int:
    """Rows with a text that people or models wrote."""
    with reading(world.engine) as session:
        answers = session.scalars(select(Evaluation)).all()
    left = [one for one in answers if one.text or one.extracted or one.request_sha256]
    return sum(count(world, *TEXTS)) + len(left)


def of_a_job() -> set[str]:
    """The tables whose rows go with their job, by foreign keys over any number of tables."""
    found = {"jobs"}
    while more := {
        table.name
        for table in Base.metadata.sorted_tables
        for key in table.foreign_keys
        if key.column.table.name in found and table.name not in found and key.ondelete == "CASCADE"
    }:
        found |= more
    return found - {"jobs"}


def audited(world: World) -> list[tuple[str, str, str]]:
    with reading(world.engine) as session:
        rows = session.scalars(select(AuditEntry).order_by(AuditEntry.id))
        return [(row.key_id, row.action, row.target) for row in rows]


def test_texts_of_a_job_that_ended_long_ago_go_and_everything_else_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remove, "BATCH", 10)  # several transactions
    old, young = finished(world, 31), finished(world, 29)
    with reading(world.engine) as session:
        ours = select(func.count()).select_from(Rationale).where(Rationale.job_id == young)
        of_the_young = session.scalar(ours)
        before = session.scalars(select(Iteration.metrics).where(Iteration.job_id == old)).all()
    kept = count(world, Event, Adapter, Iteration)
    keep(world, text_days=30)
    assert remove_by_age(world.engine, 60) == 1
    assert remove_by_age(world.engine, 60) == 0
    with reading(world.engine) as session:
        assert set(session.scalars(select(Rationale.job_id))) == {young}
        assert session.scalar(ours) == of_the_young
        assert session.scalars(select(Iteration.metrics).where(Iteration.job_id == old)).all() == before
        assert job_with_texts(session, world.project_id, young).id == young
        with pytest.raises(Gone, match="retention"):
            job_with_texts(session, world.project_id, old)
    assert count(world, Event, Adapter, Iteration) == kept
    assert audited(world) == [("retention", "texts removed after 30 days", old)]


def test_a_removal_that_is_interrupted_goes_on_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remove, "BATCH", 8)
    finished(world, 31)
    keep(world, text_days=30)
    turns = 0
    while texts(world):
        before = texts(world)
        remove_by_age(world.engine, 0)
        turns += 1
        assert turns == 1 or texts(world) < before
    remove_by_age(world.engine, 60)
    assert turns > 2
    with reading(world.engine) as session:
        assert session.scalars(select(Job.texts_left)).all() == [False]


def test_what_was_measured_is_reported_as_before_when_the_texts_are_gone(world: World) -> None:
    job_id = finished(world, 31)
    with reading(world.engine) as session:
        before = read_report(session, get_job(session, world.project_id, job_id))
    assert before.accuracies
    keep(world, text_days=30)
    remove_by_age(world.engine, 60)
    assert texts(world) == 0
    with reading(world.engine) as session:
        after = read_report(session, get_job(session, world.project_id, job_id))
    assert (after.answer, after.accuracies) == (before.answer, before.accuracies)
    assert before.receipt is not None
    assert before.receipt.collapse is not None
    without_churn = replace(before.receipt.collapse, train=None)  # it is counted in the rationales
    assert after.receipt == replace(before.receipt, collapse=without_churn)


def test_every_table_of_a_job_is_known_to_hold_texts_or_none() -> None:
    removed, blanked = by_age._removed("job_1"), by_age._blanked("job_1")
    named = [*(one[0] for one in removed), *(one[0] for one in blanked)]
    with_texts = {table.__tablename__ for table in named}
    assert with_texts | WITHOUT_TEXTS | AS_EVENTS == of_a_job()
    assert not with_texts & WITHOUT_TEXTS


def test_events_and_files_have_ages_of_their_own(world: World) -> None:
    old = finished(world, 8)
    with transaction(world.engine) as session:
        for name in ("old", "young"):
            file = File(
                id=new_id("file"),
                project_id=world.project_id,
                filename=name,
                purpose="fine-tune",
                sha256="0" * 64,
                size_bytes=1,
            )
            session.add(file)
            if name == "old":
                aged = file.id
    age(world, File, aged, "created_at", 3)
    before = texts(world)
    keep(world, event_days=7, file_days=2)
    assert remove_by_age(world.engine, 60) == 2
    with reading(world.engine) as session:
        assert list_events(session, old, 0, 100) == []
        assert session.scalars(select(File.filename).where(File.deleted_at.is_(None))).all() == ["young"]
    assert texts(world) == before > 0
    assert {(action, target) for _, action, target in audited(world)} == {
        ("events removed after 7 days", old),
        ("file removed after 2 days", aged),
    }


def test_a_job_that_has_not_ended_and_a_project_without_a_rule_lose_nothing(world: World) -> None:
    running = world.submit(iterations=1)
    do_step(world, claim(world))
    age(world, Job, running, "created_at", 100)
    keep(world, text_days=1, event_days=1)
    assert remove_by_age(world.engine, 60) == 0
    finish_job(world)
    check(world)
    age(world, Job, running, "finished_at", 100)
    keep(world)
    assert remove_by_age(world.engine, 60) == 0
    check(world)


def test_a_failed_job_without_its_texts_is_not_retried(world: World) -> None:
    job_id = finished(world, 31)
    with transaction(world.engine) as session:
        session.get_one(Job, job_id).status = "failed"  # type: ignore[assignment]
    keep(world, text_days=30)
    remove_by_age(world.engine, 60)
    with transaction(world.engine) as session, pytest.raises(Conflict, match="texts were removed"):
        retry_job(session, get_job(session, world.project_id, job_id), world.settings)
