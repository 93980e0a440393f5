"""The review queue over HTTP and in the dashboard: its order, who leaves it, and what a decision does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from star_engine.diagnostics.risk import Tried, risk_of
from star_engine.sampling.rationales import Route
from tests import databases
from tests.app.api_harness import Api, serve, worker
from tests.app.dashboard.conftest import sign_in
from tests.factories import problem, spaced, total

SAMPLED = {"temperature": 0.7, "samples_per_example": 3, "max_tokens": 400}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("review")
    url = f"sqlite:///{folder / 'star.db'}"
    databases.migrate(url)
    script = "tests.app.quality.sampled_pupil:pupil"
    with serve(url, folder / "home", sampler="scripted", sampler_script=script) as found:
        yield found


@pytest.fixture(scope="module")
def job(api: Api) -> str:
    """Questions of one digit are always right, of two now and then, of three only with the hint."""
    found = []
    for number in range(18):
        a, b = problem(number, 1 + number % 3)
        found.append({"question": f"{spaced(a)} + {spaced(b)}", "answer": total(a, b)})
    dataset = api.dataset("".join(json.dumps(row) + "\n" for row in found), validation=3)["id"]
    job_id = api.job(dataset=dataset, config={"iterations": 1, "generation": SAMPLED})["id"]
    with worker(api) as work_off:
        work_off()
    return str(job_id)


def queue(api: Api, job: str, headers: dict[str, str] | None = None, **params: Any) -> dict[str, Any]:
    sent = {"limit": 100, **params}
    answer = api.client.get(f"/v1/jobs/{job}/review-queue", params=sent, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def everything(api: Api, job: str, **params: Any) -> dict[str, Any]:
    """What one sees who has judged nothing, and for whom nobody's judgement is enough."""
    return queue(api, job, api.reader, raters=20, **params)


def kept(api: Api, job: str) -> list[dict[str, Any]]:
    found = api.client.get(f"/v1/jobs/{job}/rationales", params={"decision": "kept", "limit": 1000})
    return list(found.json()["data"])


def test_it_holds_what_was_kept_by_the_risk_of_each_tries_and_chance(api: Api, job: str) -> None:
    found = everything(api, job)["data"]
    assert sorted(one["id"] for one in found) == sorted(one["id"] for one in kept(api, job))
    every = api.client.get(f"/v1/jobs/{job}/rationales", params={"limit": 1000}).json()["data"]
    chance = api.client.get(f"/v1/jobs/{job}/iterations/1").json()["metrics"]["audits"]["luck"]["chance"]
    for one in found:
        tries = [
            row
            for row in every
            if row["example"]["id"] == one["example"]["id"] and row["route"] == "generated"
        ]
        right = sum(row["verdict"] == "correct" for row in tries)
        risk = risk_of(Route(one["route"]), Tried(len(tries), right), chance, one["risk"]["second_opinion"])
        assert one["risk"]["risk"] == pytest.approx(risk.value, abs=1e-6)
        assert (one["risk"]["tries"], one["risk"]["right"]) == (3, right)
    risks = [one["risk"]["risk"] for one in found]
    assert risks == sorted(risks, reverse=True)
    assert {one["route"] for one in found[:3]} == {"rationalized"}  # three digits: no try was right
    assert found[-1]["risk"]["right"] == 3


def test_pages_of_the_queue_are_the_queue(api: Api, job: str) -> None:
    whole, found, after = everything(api, job)["data"], [], None
    while True:
        page = everything(api, job, limit=4, **({"after": after} if after else {}))
        found += page["data"]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert found == whole
    answer = api.client.get(f"/v1/jobs/{job}/review-queue", params={"after": "rat_1234567"})
    assert (answer.status_code, "begin again" in answer.json()["detail"]) == (400, True)


def test_a_judged_text_leaves_the_queue_once_enough_people_have_judged_it(api: Api, job: str) -> None:
    first, second = queue(api, job)["data"][:2]
    path = f"/v1/jobs/{job}/rationales/{first['id']}/override"
    sent = {"verdict": "wrong", "reason": "Right by luck."}
    assert api.client.post(path, json=sent).status_code == 201
    assert queue(api, job)["data"][0]["id"] == second["id"]
    assert queue(api, job, raters=2)["data"][0]["id"] == second["id"]  # one's own is not shown again
    other = queue(api, job, api.admin, raters=2)["data"][0]
    assert other["id"] == first["id"]
    assert [one["verdict"] for one in other["reviews"]] == ["wrong"]
    api.client.post(path, json={**sent, "verdict": "correct"}, headers=api.admin)
    assert queue(api, job, api.reader, raters=2)["data"][0]["id"] == second["id"]
    assert queue(api, job, api.reader, raters=3)["data"][0]["id"] == first["id"]


def test_the_page_shows_the_riskiest_and_a_press_drops_or_accepts_it(api: Api, job: str) -> None:
    visitor = sign_in(api, api.admin)
    for choice, verdict in (("drop", "wrong"), ("accept", "correct")):
        head = queue(api, job, api.admin)["data"][0]
        page = visitor.get(f"/jobs/{job}/review").text
        assert f'<article data-rationale="{head["id"]}">' in page
        assert f"{head['risk']['risk']:.3f}" in page
        answer = visitor.post(f"/jobs/{job}/review/{head['id']}", choice=choice)
        assert answer.headers["location"] == f"/dashboard/jobs/{job}/review"
        said = api.client.get(f"/v1/jobs/{job}/rationales/{head['id']}/override").json()["data"][-1]
        assert (said["verdict"], said["reason"]) == (
            verdict, f"Read in the review queue and {choice}{'p' * (choice == 'drop')}ed.",
        )  # fmt: skip
        assert queue(api, job, api.admin)["data"][0]["id"] != head["id"]
    reader = sign_in(api, api.reader)
    assert "Your key may look, not judge" in reader.get(f"/jobs/{job}/review").text
    assert reader.post(f"/jobs/{job}/review/{head['id']}", choice="drop").status_code == 403


def test_what_a_reviewer_dropped_is_not_trained_on_by_a_fork(api: Api, job: str) -> None:
    one = queue(api, job)["data"][-1]
    sent = {"verdict": "wrong", "reason": "The carry is missing."}
    api.client.post(f"/v1/jobs/{job}/rationales/{one['id']}/override", json=sent)
    fork = api.client.post(f"/v1/jobs/{job}/fork", json={"from_iteration": 0}).json()
    with worker(api) as work_off:
        work_off()
    again = [row for row in kept(api, fork["id"]) if row["example"]["id"] == one["example"]["id"]]
    assert one["text"] not in [row["text"] for row in again]


def test_a_job_without_a_training_set_has_an_empty_queue_and_a_missing_iteration_is_named(api: Api) -> None:
    fresh = api.job()["id"]
    assert queue(api, fresh)["data"] == []
    assert api.client.get(f"/v1/jobs/{fresh}/review-queue", params={"iteration": 3}).status_code == 404
    assert "Nothing waits for you" in sign_in(api, api.admin).get(f"/jobs/{fresh}/review").text
    api.client.post(f"/v1/jobs/{fresh}/cancel")
