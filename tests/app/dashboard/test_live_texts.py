"""A running job's page shows the texts that have just been written, with their verdicts and their speed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database import clock, transaction
from app.results.live.newest import SHOWN, read_newest
from app.tables.jobs import Iteration, Job, Step
from app.tables.rationales import Rationale
from app.tables.statuses import JobStatus
from star_engine.loop import PhaseName
from tests.app.dashboard.conftest import Finished


def put(session: Session, finished: Finished, phase: PhaseName, iteration: int) -> None:
    values = {"status": JobStatus.RUNNING, "phase": phase, "iteration": iteration}
    session.execute(update(Job).where(Job.id == finished.job).values(values))


def test_the_newest_tries_are_shown_with_their_verdicts(finished: Finished) -> None:
    engine = finished.visitor.api.engine
    with transaction(engine) as session:
        before = session.get_one(Job, finished.job)
        kept = {"status": before.status, "phase": before.phase, "iteration": before.iteration}
        put(session, finished, PhaseName.SAMPLE, 2)
    try:
        page = finished.get("/texts").text
        tries = finished.api("/rationales", limit=100, iteration=2)["data"]
        newest = sorted(tries, key=lambda one: -int(one["id"].removeprefix("rat_")))[:SHOWN]
        assert [page.index(f'id="live-{one["id"]}"') for one in newest] == sorted(
            page.index(f'id="live-{one["id"]}"') for one in newest
        )
        assert all(f'<li id="live-{one["id"]}" class="{one["verdict"]}">' in page for one in newest)
        with transaction(engine) as session:
            put(session, finished, PhaseName.EVALUATE, 2)
        assert 'id="live-ans_' in finished.get("/texts").text
        with transaction(engine) as session:
            put(session, finished, PhaseName.TRAIN, 2)
        assert 'class="live"' not in finished.get("/texts").text
    finally:
        with transaction(engine) as session:
            session.execute(update(Job).where(Job.id == finished.job).values(kept))


def test_the_speed_counts_what_was_written_in_the_last_minute(finished: Finished) -> None:
    engine, project = finished.visitor.api.engine, _project(finished)
    with transaction(engine) as session:
        kept = session.execute(
            select(Job.status, Job.phase, Job.iteration).where(Job.id == finished.job)
        ).one()
        put(session, finished, PhaseName.SAMPLE, 2)
        now = session.scalars(select(clock())).one()
        tries = Rationale.iteration_id.in_(
            select(Iteration.id).where(Iteration.job_id == finished.job, Iteration.number == 2)
        )
        steps = (Step.job_id == finished.job) & (Step.phase == PhaseName.SAMPLE)
        old = dict(session.execute(select(Rationale.id, Rationale.created_at).where(tries)).all())
        begun = dict(session.execute(select(Step.id, Step.started_at).where(steps)).all())
        session.execute(update(Step).where(steps).values(started_at=now - timedelta(hours=1)))
        session.execute(update(Rationale).where(tries).values(created_at=now - timedelta(seconds=30)))
        written = session.scalars(select(Rationale.tokens).where(tries, Rationale.reused.is_(False))).all()
    try:
        found = read_newest(engine, project, finished.job)
        assert found.tokens_per_second is not None
        assert found.tokens_per_second == pytest.approx(sum(written) / 60, rel=0.01)
        with transaction(engine) as session:
            session.execute(update(Rationale).where(tries).values(created_at=now - timedelta(minutes=5)))
        assert read_newest(engine, project, finished.job).tokens_per_second is None
    finally:
        with transaction(engine) as session:
            values = {"status": kept[0], "phase": kept[1], "iteration": kept[2]}
            session.execute(update(Job).where(Job.id == finished.job).values(values))
            for row, when in old.items():
                session.execute(update(Rationale).where(Rationale.id == row).values(created_at=when))
            for row, when in begun.items():
                session.execute(update(Step).where(Step.id == row).values(started_at=when))


def _project(finished: Finished) -> str:
    with transaction(finished.visitor.api.engine) as session:
        return session.get_one(Job, finished.job).project_id
