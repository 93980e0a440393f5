"""A job in a browser for every status and reason: whole, accessible, in light and dark, on a phone too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser
from sqlalchemy import update

from app.database import transaction
from app.tables.jobs import Job
from app.tables.statuses import JobStatus
from star_engine.loop import PhaseName, StopReason
from tests import databases
from tests.app.dashboard.test_every_state import FAILURES, SELF_PAUSED
from tests.browser.accessibility import violations
from tests.browser.conftest import Visit, visiting
from tests.browser.whole_page import CUT
from tests.star_client.recorded_platform import Platform, platform

pytestmark = pytest.mark.xdist_group("every_state")  # one platform for all of them

EARLY = (JobStatus.VALIDATING, JobStatus.QUEUED)  # a job of which nothing is on record yet
PAUSES = (
    SELF_PAUSED,
    {"code": "insufficient_kept", "message": "3 of 46 rationales were kept.", "iteration": 1},
)
STATES: dict[str, dict[str, Any]] = {
    **{status.value: {"status": status} for status in JobStatus},
    **{
        f"running-{phase}": {"status": JobStatus.RUNNING, "phase": phase, "iteration": 2}
        for phase in PhaseName
        if phase not in (PhaseName.BASELINES, PhaseName.PROBE, PhaseName.TRIAL)
    },
    "running-baselines": {"status": JobStatus.RUNNING, "phase": PhaseName.BASELINES},
    **{f"paused-{why['code']}": {"status": JobStatus.PAUSED, "status_reason": why} for why in PAUSES},
    **{f"failed-{why['code']}": {"status": JobStatus.FAILED, "status_reason": why} for why in FAILURES},
    **{f"ended-{why}": {"status": JobStatus.SUCCEEDED, "stop_reason": why} for why in StopReason},
}
SAMPLE = {  # one of each kind; the others take two minutes
    "queued",
    "running-train",
    "running-baselines",
    f"paused-{SELF_PAUSED['code']}",
    f"failed-{FAILURES[0]['code']}",
    f"ended-{next(iter(StopReason))}",
    "cancelled",
    "succeeded",
}
BLANK: dict[str, Any] = {"status_reason": None, "stop_reason": None, "phase": None, "iteration": 0}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, str, str]]:
    """A platform with a job that has run, and one of which nothing is on record."""
    home = tmp_path_factory.mktemp("states")
    url = f"sqlite:///{home / 'star.db'}"
    databases.migrate(url)
    with platform(url, home) as server:
        done = server.submit(home)
        server.work()
        yield server, done, server.submit(home, seed=1)


@pytest.fixture(scope="module")
def visit(chromium: Browser, site: tuple[Platform, str, str]) -> Iterator[Visit]:
    with visiting(chromium, site[0]) as there:
        yield there


@pytest.mark.parametrize(
    "state", [state if state in SAMPLE else pytest.param(state, marks=pytest.mark.long) for state in STATES]
)
def test_a_job_of_every_state_has_a_whole_page(
    visit: Visit, site: tuple[Platform, str, str], state: str
) -> None:
    server, done, fresh = site
    values = {**BLANK, **STATES[state]}
    job = fresh if values["status"] in EARLY else done
    with transaction(server.engine) as session:
        session.execute(update(Job).where(Job.id == job).values(values))
    for path in (f"jobs/{job}", "jobs"):
        for scheme, width in (("light", 1280), ("dark", 390)):
            visit.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            visit.page.set_viewport_size({"width": width, "height": 800})
            answer = visit.page.goto(f"{server.url}/dashboard/{path}")
            assert answer is not None
            assert answer.status == 200
            visit.page.get_by_role("navigation", name="Main").wait_for()
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
            if width == 390:  # a wide table of a chart's figures is scrolled in its frame on a laptop
                assert visit.page.evaluate(CUT) == []
            assert violations(visit.page) == [], (path, scheme, width)
    assert visit.problems == []
