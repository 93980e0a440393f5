"""Faithfulness through the service: measured by a worker, told by the API, the report and the job's page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import unescape
from math import exp
from pathlib import Path

import pytest

from tests.app.api_harness import Api, addition_rows, serve, worker
from tests.app.dashboard.conftest import sign_in
from tests.factories import CONFIG, SCRIPT

QUESTIONS = 6


@pytest.fixture
def api(sqlite_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with serve(sqlite_database_url, tmp_path / "home", sampler="scripted", sampler_script=SCRIPT) as found:
        yield found


def test_it_stands_in_the_metrics_the_report_and_the_page_of_the_job(api: Api) -> None:
    config = {name: value for name, value in CONFIG.items() if name != "kind"}
    config |= {"iterations": 1, "audits": {"faithfulness": QUESTIONS}}
    job = api.job(dataset=api.dataset(addition_rows(24), validation=8)["id"], config=config)["id"]
    with worker(api) as work_off:
        work_off()
    iteration = api.client.get(f"/v1/jobs/{job}/iterations/1").json()
    assert iteration["phases_done"][-1] == "faithfulness"
    found = iteration["metrics"]["audits"]["faithfulness"]
    hint, dependence = found["wrong_hint"], found["dependence"]
    assert 0 < hint["asked"] <= QUESTIONS
    assert hint["followed"]["count"] == 0  # the scripted pupil adds, whatever it is shown
    assert hint["kept"] == hint["right"] == dependence["n"] > 0

    low, high = (100 * hint["followed"][name] for name in ("low", "high"))
    page = sign_in(api, api.admin).get(f"/jobs/{job}").text
    assert f"0 of {hint['right']} answers that are right without it follow it" in page
    assert f"95 % interval {low:.1f} to {high:.1f} %" in page
    report = api.client.get(f"/v1/jobs/{job}/report", params={"format": "html"}).text
    assert "Whether answers come from their rationales" in report
    assert f"0.0 % [{low:.1f} %, {high:.1f} %]" in report
    assert json.dumps(found, sort_keys=True) in json.dumps(
        api.client.get(f"/v1/jobs/{job}/coverage").json(), sort_keys=True
    )


def test_what_a_job_learns_from_a_teacher_is_told_by_length_and_style_on_its_page(api: Api) -> None:
    config = {name: value for name, value in CONFIG.items() if name != "kind"}
    config |= {"iterations": 2, "self_distillation": {}, "rationalization": {"enabled": False}}
    job = api.job(dataset=api.dataset(addition_rows(24), validation=8)["id"], config=config)["id"]
    with worker(api) as work_off:
        work_off()
    first, second = (
        api.client.get(f"/v1/jobs/{job}/iterations/{number}").json()["metrics"]["audits"]["style"]
        for number in (1, 2)
    )
    assert (first["drift"], first["length_drift"]) == (None, None)
    assert first["tries"] == second["tries"] > 0
    page = sign_in(api, api.admin).get(f"/jobs/{job}").text
    assert f"have {second['mean']:.1f} tokens on average, {100 * second['length_drift']:+.1f} %" in page
    assert f"marks have moved by {second['drift']:.3f} bits" in page


def test_a_rationales_page_says_how_likely_its_answer_is_after_each_sentence(api: Api) -> None:
    config = {name: value for name, value in CONFIG.items() if name != "kind"}
    config |= {"iterations": 1, "audits": {"sentences": 2}}
    job = api.job(dataset=api.dataset(addition_rows(24), validation=8)["id"], config=config)["id"]
    with worker(api) as work_off:
        work_off()
    listed = api.client.get(f"/v1/jobs/{job}/rationales", params={"limit": 100}).json()["data"]
    found = [api.client.get(f"/v1/jobs/{job}/rationales/{one['id']}").json() for one in listed]
    read = [one for one in found if one["reading"]]
    assert (len(read), {one["verdict"] for one in read}) == (2, {"correct"})
    visitor = sign_in(api, api.admin)
    for one in read:
        page = unescape(visitor.get(f"/jobs/{job}/rationales", rationale=one["id"]).text)
        table = page.split('id="reading-title"')[1].split("</section>")[0]
        rows = table.split("<tbody>")[1].split("<tr>")[1:]
        assert len(rows) == len(one["reading"])
        assert "(no rationale)" in rows[0]
        before = 0
        for row, place in zip(rows, one["reading"], strict=True):
            assert one["text"][before : place["end"]].strip() in row
            assert f"{100 * exp(place['logprob']):.1f} %" in row
            before = place["end"]
    unread = next(one for one in found if one["reading"] is None)
    assert "reading-title" not in visitor.get(f"/jobs/{job}/rationales", rationale=unread["id"]).text
