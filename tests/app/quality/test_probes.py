"""A probe through the API and a worker: its figures, its cost, and that the job makes no try twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from app.database import reading
from app.tables.jobs import Job
from app.tables.rationales import Rationale
from tests import databases
from tests.app.api_harness import Api, serve, worker
from tests.app.dashboard.conftest import sign_in
from tests.factories import problem, spaced, total

TRAIN, QUESTIONS = 30, 20
SAMPLED = {"temperature": 0.7, "samples_per_example": 2, "max_tokens": 400}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("probes")
    url = f"sqlite:///{folder / 'star.db'}"
    databases.migrate(url)
    script = "tests.app.quality.sampled_pupil:pupil"
    with serve(url, folder / "home", sampler="scripted", sampler_script=script, shard_examples=64) as found:
        yield found


def rows() -> str:
    """A third each of one, two and three digits."""
    found = []
    for number in range(TRAIN + 6):
        a, b = problem(number, 1 + number % 3)
        group = "1" if number % 3 == 0 else "2"
        found.append({"question": f"{spaced(a)} + {spaced(b)}", "answer": total(a, b), "group": group})
    return "".join(json.dumps(row) + "\n" for row in found)


def body(api: Api, **config: Any) -> dict[str, Any]:
    dataset = api.dataset(rows(), validation=6)["id"]
    settings = {"iterations": 1, "generation": SAMPLED, "rationalization": {"enabled": False}, **config}
    return api.job_body(config=settings) | {"dataset": dataset}


def probe(api: Api, sent: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = api.client.post("/v1/jobs", json={**sent, "dry_run": True, "probe": QUESTIONS}, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/probes/{answer.json()['probe']['id']}"
    return dict(answer.json())


def finished(api: Api, sent: dict[str, Any]) -> dict[str, Any]:
    begun = probe(api, sent)["probe"]
    assert (begun["status"], begun["difficulty"], begun["questions"]) == ("queued", None, QUESTIONS)
    with worker(api) as work_off:
        work_off()
    return dict(api.client.get(f"/v1/probes/{begun['id']}").json())


def tries(api: Api, job: str) -> dict[tuple[int, str, int], Rationale]:
    with reading(api.engine) as session:
        found = session.scalars(select(Rationale).where(Rationale.job_id == job)).all()
        return {(one.example_id, str(one.route), one.sample): one for one in found}


def test_a_probe_counts_its_questions_and_the_job_samples_none_of_its_tries_again(api: Api) -> None:
    sent = body(api, seed=3)
    found = finished(api, sent)
    assert found["status"] == "succeeded", found["status_reason"]
    made = tries(api, found["id"])
    assert len(made) == found["recorded"] == QUESTIONS * 8
    by_question: dict[int, int] = {}
    for (example, _, _), one in made.items():
        by_question[example] = by_question.get(example, 0) + (one.verdict == "correct")
    figures, counts = found["difficulty"], list(by_question.values())
    assert figures["all_wrong"]["count"] == counts.count(0) > 0
    assert figures["all_right"]["count"] == counts.count(8) > 0
    assert figures["mixed"]["count"] == sum(0 < count < 8 for count in counts) > 0
    assert figures["passed"][0]["value"] == pytest.approx(sum(counts) / 8 / QUESTIONS)
    assert figures["passed"][-1]["value"] == pytest.approx(1 - counts.count(0) / QUESTIONS)
    kept = sum(figures["kept"].values())
    assert figures["rows"]["expected"] == round(kept / QUESTIONS * TRAIN)
    assert figures["rows"]["low"] < figures["rows"]["expected"] < figures["rows"]["high"]
    assert found["stands_for"] == TRAIN
    assert found["sampling_gpu_seconds"] == pytest.approx(
        found["gpu_seconds"] / (QUESTIONS * 8) * 2 * TRAIN, rel=0.1, abs=0.2
    )

    job = api.client.post("/v1/jobs", json=sent).json()["id"]
    with worker(api) as work_off:
        work_off()
    own = tries(api, job)
    shared = own.keys() & made.keys()
    assert len(shared) == QUESTIONS * SAMPLED["samples_per_example"]  # the probed questions, sample 0 and 1
    assert {key for key, one in own.items() if one.reused} == shared
    for key in shared:
        assert (own[key].text, own[key].verdict, own[key].request_sha256) == (
            made[key].text, made[key].verdict, made[key].request_sha256,
        )  # fmt: skip


def test_a_probe_from_the_dashboard_shows_its_figures_and_the_forms_job_uses_its_tries(api: Api) -> None:
    visitor, sent = sign_in(api, api.admin), body(api, seed=11)
    form = {name: str(sent[name]) for name in ("model", "dataset", "prompt_set")}
    form |= {"probe": str(QUESTIONS), "settings": json.dumps(sent["config"])}
    begun = visitor.post("/jobs/new/probe", **form)
    assert begun.status_code == 200, begun.text
    found = re.search(r"/jobs/new/probes/(job_\w+)", begun.text)
    assert found is not None
    assert "Preflight: how hard are the questions?" in begun.text
    with worker(api) as work_off:
        work_off()
        shown = visitor.get(f"/jobs/new/probes/{found[1]}").text
        job = visitor.post("/jobs/new", **form).headers["location"].rpartition("/")[2]
        work_off()
    figures = api.client.get(f"/v1/probes/{found[1]}").json()
    assert f"{QUESTIONS} of {TRAIN} train questions" in shown
    assert f"{QUESTIONS * 8} tries, 0 of them found on record" in shown
    assert f"{100 * figures['difficulty']['all_wrong']['share']:.0f}" in shown
    reused = sum(one.reused for one in tries(api, job).values())
    assert reused == QUESTIONS * SAMPLED["samples_per_example"]


def test_of_a_greedy_job_the_greedy_tries_and_the_hinted_ones_are_reused(api: Api) -> None:
    sent = body(api, generation={"max_tokens": 400}, rationalization={"enabled": True})
    found = finished(api, sent)
    figures = found["difficulty"]
    assert figures["temperature"] == 0.8
    assert figures["rationalized"]["share"] == 1.0
    codes = [one["code"] for one in figures["advice"]]
    assert "sample_more" in codes  # two digits are right at some seed, and never greedily
    made = tries(api, found["id"])
    job = api.client.post("/v1/jobs", json=sent).json()["id"]
    with worker(api) as work_off:
        work_off()
    own = tries(api, job)
    reused = {key for key, one in own.items() if one.reused}
    assert {route for _, route, _ in reused} == {"generated", "rationalized"}
    assert reused == {key for key in made if key[1] == "rationalized" or key[2] == 0}


def test_a_second_probe_finds_the_first_one_on_record(api: Api) -> None:
    sent = body(api, seed=4)
    first, again = finished(api, sent), finished(api, sent)
    assert (first["reused"], again["reused"], again["recorded"]) == (0, QUESTIONS * 8, QUESTIONS * 8)
    assert again["difficulty"] == first["difficulty"]


def test_a_probe_is_no_job_of_the_list_and_is_cancelled_like_one(api: Api) -> None:
    begun = probe(api, body(api, seed=5))["probe"]["id"]
    assert begun not in [one["id"] for one in api.client.get("/v1/jobs").json()["data"]]
    assert api.client.post(f"/v1/jobs/{begun}/cancel").status_code == 202
    found = api.client.get(f"/v1/probes/{begun}", params={"wait": 5}).json()
    assert (found["status"], found["is_terminal"], found["difficulty"]) == ("cancelled", True, None)
    assert api.client.get(f"/v1/probes/{begun}", headers=api.other).status_code == 404


def test_one_key_begins_one_probe(api: Api) -> None:
    sent = body(api, seed=6)
    first, again = (probe(api, sent, **{"Idempotency-Key": "probe-6"}) for _ in range(2))
    assert first["probe"]["id"] == again["probe"]["id"]
    api.client.post(f"/v1/jobs/{first['probe']['id']}/cancel")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"dry_run": False}, "probe_without_dry_run"),
        ({"probe": 19}, "invalid"),
        ({"probe": 201}, "invalid"),
        ({"preset": "direct-fine-tune", "config": {}}, "nothing_to_probe"),
    ],
)
def test_what_cannot_be_probed_is_refused(api: Api, changes: dict[str, Any], code: str) -> None:
    sent = {**body(api, seed=7), "dry_run": True, "probe": QUESTIONS, **changes}
    answer = api.client.post("/v1/jobs", json=sent)
    assert answer.status_code == 422
    assert answer.json()["code"] == code


def test_a_probe_is_of_its_own_kind_of_job(api: Api) -> None:
    job = api.client.post("/v1/jobs", json=body(api, seed=8)).json()["id"]
    assert api.client.get(f"/v1/probes/{job}").status_code == 404
    api.client.post(f"/v1/jobs/{job}/cancel")
    with reading(api.engine) as session:
        assert session.get_one(Job, job).stands_for is None
