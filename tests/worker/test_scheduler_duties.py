"""What a scheduler cannot do for one project keeps it from nothing that it does for the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from app.storage import Storage
from tests.factories import World, make_world
from worker import scheduler


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    return make_world(database_url, tmp_path / "home")


def test_a_duty_that_fails_is_logged_with_its_trace_and_the_next_ones_are_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def broken(_: Engine) -> int:
        raise OverflowError("a date that no calendar has")

    monkeypatch.setattr(scheduler, "apply_retention", broken)
    monkeypatch.setattr(scheduler, "remove_by_age", lambda _: done.append("aged"))
    with capture_logs() as logs:
        scheduler.tidy(world.engine, Storage(world.settings.resolved_storage_url()))
    assert done == ["aged"]
    failed = [one for one in logs if one["event"] == "tidying_failed"]
    assert [(one["duty"], one["error"]) for one in failed] == [("adapters_deleted", "OverflowError")]
    assert isinstance(failed[0]["exc_info"], OverflowError)
