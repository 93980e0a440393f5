"""No state of a job takes a page down: the list, the job and its parts, for every status and every reason."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from sqlalchemy import update

from app.database import transaction
from app.tables.jobs import Job, Step
from app.tables.statuses import JobStatus
from star_engine.config.presets import PRESETS
from star_engine.loop import PhaseName, StopReason
from tests.app.dashboard.conftest import Visitor

SELF_PAUSED = {"code": "no_spark", "message": "1 of 20 is right.", "iteration": 0}
FAILURES: tuple[dict[str, Any], ...] = (
    {
        "code": "gpu_out_of_memory",
        "message": "Out of memory.",
        "phase": "train",
        "iteration": 1,
        "log_tail": "x",
    },
    {"code": "internal", "message": "A bug."},
)
STATES: list[dict[str, Any]] = [
    *({"status": status} for status in JobStatus),
    {"status": JobStatus.PAUSED, "status_reason": SELF_PAUSED},
    *({"status": JobStatus.FAILED, "status_reason": reason} for reason in FAILURES),
    *({"status": JobStatus.SUCCEEDED, "stop_reason": reason} for reason in StopReason),
    {"status": JobStatus.RUNNING, "phase": PhaseName.BASELINES},
    {
        "status": JobStatus.RUNNING,
        "phase": PhaseName.TRAIN,
        "iteration": 2,
    },
]
PAGES = ("", "/fork", "/rationales")


def test_every_page_shows_a_job_of_every_status_and_reason(visitor: Visitor) -> None:
    job = visitor.api.job()["id"]
    for state in STATES:
        blank = {"status_reason": None, "stop_reason": None, "phase": None, "iteration": 0}
        with transaction(visitor.api.engine) as session:
            session.execute(update(Job).where(Job.id == job).values({**blank, **state}))
        for path in ("/jobs", *(f"/jobs/{job}{part}" for part in PAGES)):
            assert visitor.get(path).status_code == 200, (state, path)


@pytest.mark.parametrize(
    ("state", "title"),
    [
        (STATES[-2], "25 % of baselines, 0/3 · "),
        (STATES[-1], "running · "),
        ({"status": JobStatus.FAILED}, "failed · "),
        ({"status": JobStatus.SUCCEEDED}, ""),
    ],
)
def test_the_title_of_the_tab_tells_how_far_a_job_is(
    visitor: Visitor, state: dict[str, Any], title: str
) -> None:
    job = visitor.api.job(name="pens", config={"iterations": 3})["id"]
    with transaction(visitor.api.engine) as session:
        session.execute(update(Job).where(Job.id == job).values(state))
        session.execute(update(Step).where(Step.job_id == job).values(progress={"done": 1}))  # of 4 examples
    page = visitor.get(f"/jobs/{job}").text
    assert f"<title>{title}pens · STaR</title>" in page
    assert f'data-title="{title}pens · STaR"' in page


def test_a_new_job_like_another_is_the_same_job_before_anything_is_edited(visitor: Visitor) -> None:
    changed = {"iterations": 7, "training": {"batch_size": 4}, "generation": {"temperature": 0.9}}
    for preset, config in (("star", changed), ("quick", {}), ("rft", {"seed": 3})):
        old = visitor.api.job(preset=preset, config=config, priority=2)
        form = visitor.get("/jobs/new", like=old["id"]).text
        settings = unescape(form.split('name="settings"')[1].split(">", 1)[1].split("</textarea>")[0])
        chosen = re.findall(r'<option value="([^"]*)" selected>', form)
        assert {old["model"], old["dataset"], old["prompt_set"]} <= set(chosen)
        sent = {name: old[name] for name in ("model", "dataset", "prompt_set")}
        [named] = set(chosen) & set(PRESETS)
        made = visitor.post("/jobs/new", **sent, preset=named, settings=settings)
        assert made.status_code == 303, made.text
        new = visitor.api.client.get(f"/v1/jobs/{made.headers['location'].rpartition('/')[2]}").json()
        assert new["config"] == old["config"]
    assert f'href="/dashboard/jobs/new?like={old["id"]}"' in visitor.get(f"/jobs/{old['id']}").text


def test_a_page_that_is_not_there_keeps_the_navigation(visitor: Visitor) -> None:
    answer = visitor.get("/jobs/job_0")
    assert answer.status_code == 404
    assert '<nav aria-label="Main">' in answer.text
