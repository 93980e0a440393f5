"""The chart at the top of a job's page: the figures of the report, and what is pending from the start."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import update

from app.dashboard.jobs.hero import BOTTOM, TOP, Hero, axis, measured
from app.database import transaction
from app.tables.jobs import Job
from app.tables.statuses import JobStatus
from star_engine.loop import PhaseName
from tests.app.api_harness import serve, worker
from tests.app.dashboard.conftest import Finished, Visitor, sign_in
from tests.factories import CONFIG, SCRIPT


def chart_of(page: str) -> str:
    return page.split('aria-labelledby="hero-title"')[1].split("</section>", maxsplit=1)[0]


def legend(page: str) -> dict[str, str]:
    """What the legend says of each model: label to state."""
    found = re.findall(r'<li class="(\w+)">.*?<span>(?:<a[^>]*>)?([^<]+)', chart_of(page), re.DOTALL)
    return {label.strip(): state for state, label in found}


def test_a_job_that_has_just_begun_shows_what_it_is_going_to_measure(visitor: Visitor) -> None:
    job = visitor.api.job(config={"iterations": 3}, baselines=["star-without-rationalization"])["id"]
    page = visitor.get(f"/jobs/{job}").text
    assert legend(page) == {
        "This job": "pending",
        "Few-shot, answer only": "pending",
        "Few-shot with rationales": "pending",
        "star-without-rationalization": "pending",
    }
    assert "nothing is measured yet" in chart_of(page)
    assert chart_of(page).count('<line class="ahead"') == 3
    assert "<circle" not in chart_of(page)


def test_what_is_measured_now_is_said(visitor: Visitor) -> None:
    job = visitor.api.job(config={"iterations": 3})["id"]
    for state, line, guides in (
        ({"phase": PhaseName.BASELINES}, "now", 0),
        ({"phase": PhaseName.TRAIN, "iteration": 2}, "missing", 1),
    ):
        with transaction(visitor.api.engine) as session:
            session.execute(update(Job).where(Job.id == job).values(status=JobStatus.RUNNING, **state))
        page = visitor.get(f"/jobs/{job}/now").text
        assert legend(page)["Few-shot with rationales"] == line
        assert chart_of(page).count('<line class="ahead current"') == guides


def test_the_chart_has_the_accuracies_and_intervals_of_the_report(finished: Finished) -> None:
    page = chart_of(finished.get("").text)
    for row in finished.api("/report")["accuracies"]:
        low, high = (f"{100 * row['interval'][end]:.1f} %" for end in ("low", "high"))
        if row["mode"] == "adapter":
            said = f"Iteration {row['iteration']}: {100 * row['accuracy']:.1f} % ({low} to {high})"
            assert f"<title>{said}</title>" in page
        else:
            assert f"<b>{100 * row['accuracy']:.1f} %<small>{low} to {high}</small></b>" in page
    assert "pending" not in page


def test_a_job_beside_it_has_its_own_best_accuracy(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home", sampler="scripted", sampler_script=SCRIPT) as api:
        config = {name: value for name, value in CONFIG.items() if name != "kind"} | {"iterations": 1}
        job = api.job(config=config, baselines=["star-without-rationalization"])
        alone = api.job(config=config, preset="few-shot-cot")["id"]
        with worker(api) as work_off:
            work_off()
        beside = api.client.get(f"/v1/jobs/{job['baselines'][0]['job']}").json()
        visitor = sign_in(api, api.admin)
        page = visitor.get(f"/jobs/{job['id']}").text
        figures = chart_of(visitor.get(f"/jobs/{alone}").text)
    assert legend(page)["star-without-rationalization"] == "known"
    shown = chart_of(page).split(f'href="/dashboard/jobs/{beside["id"]}"')[1]
    assert f"<b>{100 * beside['best']['accuracy']:.1f} %" in shown
    assert "Few-shot with rationales" in figures  # a job without iterations has figures, no curve
    assert 'role="img"' not in figures


def test_the_axis_holds_every_interval() -> None:
    for shares in ([0.0], [1.0], [0.31, 0.33], [0.0, 1.0], [0.5, 1.0], []):
        found = [measured(share, 20) for share in shares]
        edges = [edge for one in found for edge in (one.low, one.high) if edge is not None]
        shown = Hero((), (), *axis(edges))
        assert all(TOP <= shown.y(edge) <= BOTTOM for edge in edges)
        assert (shown.grid[0], shown.grid[-1]) == (shown.low, shown.high)
        assert 0 <= shown.low < shown.high <= 1
