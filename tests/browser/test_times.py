"""Times are told from now, in words, and as a date to whoever points at them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import expect
from sqlalchemy import update

from app.database import transaction
from app.tables.jobs import Job
from tests.browser.conftest import Visit

AGO = (
    (timedelta(seconds=20), "seconds? ago|sec. ago"),
    (timedelta(minutes=5, seconds=5), "^5 min. ago"),
    (timedelta(hours=3, minutes=1), "^3 hr. ago"),
)


def test_what_has_just_been_made_is_told_from_now_and_what_is_old_by_its_date(
    visit: Visit, tmp_path: Path
) -> None:
    job = visit.server.submit(tmp_path)
    created = visit.page.locator(f"#row-{job} time").first
    for age, told in AGO:
        moved(visit, job, age)
        visit.open("jobs")
        expect(created).to_have_text(re.compile(told))
    moved(visit, job, timedelta(days=40))
    visit.open("jobs")
    when = datetime.now(UTC) - timedelta(days=40)
    expect(created).to_contain_text(str(when.year))
    assert f"{when:%Y-%m-%dT}" in (created.get_attribute("title") or "")


def moved(visit: Visit, job: str, age: timedelta) -> None:
    """The job was made so long ago."""
    with transaction(visit.server.engine) as session:
        made = datetime.now(UTC) - age
        session.execute(update(Job).where(Job.id == job).values(created_at=made))
