"""A blind study over HTTP and in the dashboard: what raters see, what they never see, and what comes out."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from app.database import clock, transaction
from app.ledger.deletion.by_age import DAY, remove_by_age, set_rule
from app.tables.data import Example
from app.tables.jobs import Job
from app.tables.quality import StudyPair
from app.tables.rationales import Evaluation
from app.tables.statuses import JobStatus
from star_engine.evaluation.intervals import accuracy_interval
from tests.app.api_harness import Api
from tests.app.dashboard.conftest import sign_in
from tests.app.jobs.test_report import PHASES, Written, metrics
from tests.app.quality.test_receipts import rows, write_adapter

HELD_OUT = 12
NAMES = {"few_shot": "few-shot says", "star": "the adapter says", "human": "a person says"}


@pytest.fixture
def job(sqlite_api: Api) -> str:
    """Each arm's texts say whose they are, so that a test can tell what a rater cannot."""
    return written(sqlite_api)


def written(api: Api) -> str:
    dataset = api.dataset(rows(2 * HELD_OUT), validation=HELD_OUT)["id"]
    job_id = str(api.job(dataset=dataset)["id"])
    with transaction(api.engine) as session:
        of_job = Written(session, session.get_one(Job, job_id))
        base, first = of_job.iteration(0, ["baselines"], {}), of_job.iteration(1, PHASES, metrics(0.2, 2, 3))
        first.metrics = {**first.metrics, "accuracy": 0.9}
        for place, example in enumerate(of_job.examples("validation")):
            for iteration, mode, name in ((base, "few_shot_cot", "few_shot"), (first, "adapter", "star")):
                answer = Evaluation(iteration_id=iteration.id, mode=mode, example_id=example, tokens=1)
                answer.text, answer.finish_reason = f"{NAMES[name]} {place}", "stop"
                answer.verdict = "wrong" if place < 2 else "correct"
                session.add(answer)
            session.get_one(Example, example).solution = f"{NAMES['human']} {place}"
    write_adapter(api, job_id)
    return job_id


def study(api: Api, job: str, **sent: Any) -> dict[str, Any]:
    answer = api.client.post(f"/v1/jobs/{job}/studies", json=sent)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def rate_all(api: Api, made: dict[str, Any], rater: str, prefers: str) -> list[int]:
    """Rates pair after pair as one who knows what to look for; returns the order in which they came."""
    seen: list[int] = []
    while True:
        turn = api.client.get(f"/v1/studies/{made['id']}/next", params={"rater": rater}).json()
        pair = turn["pair"]
        if pair is None:
            assert turn["left"] == 0
            return seen
        first, second = (NAMES[prefers] in pair[side] for side in ("first", "second"))
        choice = "first" if first else "second" if second else "tie"
        sent = {"pair": pair["number"], "choice": choice, "rater": rater}
        assert api.client.post(f"/v1/studies/{made['id']}/ratings", json=sent).status_code == 201
        seen.append(pair["number"])


def test_a_study_pairs_what_all_models_answered_right_and_never_says_who_wrote_it(
    sqlite_api: Api, job: str
) -> None:
    made = study(sqlite_api, job)
    assert (made["iteration"], made["questions"], made["pairs"]) == (1, HELD_OUT - 2, 3 * (HELD_OUT - 2))
    pair = sqlite_api.client.get(f"/v1/studies/{made['id']}/next").json()["pair"]
    assert set(pair) == {"object", "study", "number", "question", "answer", "choices", "first", "second"}
    every = study(sqlite_api, job, only_right=False, arms=["few_shot", "star"])
    assert every["pairs"] == HELD_OUT


def test_raters_go_through_the_pairs_in_their_own_order_and_the_result_counts_questions(
    sqlite_api: Api, job: str
) -> None:
    made = study(sqlite_api, job)
    orders = [rate_all(sqlite_api, made, rater, "star") for rater in ("Ann", "Bob")]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(made["pairs"]))
    found = sqlite_api.client.get(f"/v1/studies/{made['id']}").json()["result"]
    assert (found["ratings"], found["raters"]) == (2 * made["pairs"], 2)
    rates = {(one["arm"], one["over"]): one for one in found["win_rates"]}
    interval = accuracy_interval(10, 10)
    for over in ("few_shot", "human"):
        assert (rates["star", over]["wins"], rates["star", over]["rate"]) == (10, 1.0)
        assert rates["star", over]["interval"] == {"low": interval.low, "high": interval.high}
    assert (rates["few_shot", "human"]["ties"], rates["few_shot", "human"]["rate"]) == (10, None)
    assert found["agreement"]["percent"] == 1.0


def test_raters_that_disagree_make_ties_and_a_low_kappa(sqlite_api: Api, job: str) -> None:
    made = study(sqlite_api, job, arms=["star", "human"])
    rate_all(sqlite_api, made, "Ann", "star")
    rate_all(sqlite_api, made, "Bob", "human")
    found = sqlite_api.client.get(f"/v1/studies/{made['id']}").json()["result"]
    [rate] = found["win_rates"]
    assert (rate["wins"], rate["losses"], rate["ties"]) == (0, 0, 10)
    assert found["agreement"]["percent"] == 0.0
    assert found["agreement"]["kappa"] < 0


def test_the_dashboard_shows_a_pair_blind_and_records_what_is_pressed(sqlite_api: Api, job: str) -> None:
    visitor = sign_in(sqlite_api, sqlite_api.admin)
    sent = visitor.client.post(
        f"/dashboard/jobs/{job}/studies",
        data={"csrf": visitor.token(), "arms": ["few_shot", "star"], "questions": "5", "only_right": "true"},
        follow_redirects=False,
    )
    place = sent.headers["location"].removeprefix("/dashboard")
    page = visitor.get(place).text
    shown = (
        page.split('id="pair-title"')[1].split("</section>\n{% else")[0].split("What the raters prefer")[0]
    )
    assert "5 of 5 pairs left" in shown
    assert "few_shot" not in shown
    number = shown.split('name="pair" value="')[1].split('"')[0]
    pressed = visitor.post(f"{place}/rate", pair=number, choice="first", rater="Ann")
    assert pressed.headers["location"] == f"/dashboard{place}?rater=Ann"
    assert "4 of 5 pairs left" in visitor.get(place, rater="Ann").text
    assert "1 ratings by 1 raters" in visitor.get(place).text
    assert visitor.get(f"/jobs/{job}/studies").text.count(f'href="/dashboard{place}"') == 1
    assert visitor.post(f"{place}/delete").headers["location"] == f"/dashboard/jobs/{job}/studies"
    assert visitor.get(place).status_code == 404


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"arms": ["star"]}, "invalid"),
        ({"iteration": 7, "arms": ["star", "human"]}, "nothing_to_compare"),
        ({"questions": 0}, "invalid"),
    ],
)
def test_a_study_of_nothing_is_refused(sqlite_api: Api, job: str, sent: dict[str, Any], code: str) -> None:
    answer = sqlite_api.client.post(f"/v1/jobs/{job}/studies", json=sent)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_studies_are_of_a_project_and_go_with_their_job(api: Api) -> None:
    job = written(api)
    made = study(api, job)["id"]
    path = f"/v1/studies/{made}"
    assert api.client.get(path, headers=api.other).status_code == 404
    assert api.client.get(path, headers=api.reader).status_code == 200
    rating = {"pair": 0, "choice": "tie"}
    assert api.client.post(f"{path}/ratings", json=rating, headers=api.reader).status_code == 403
    assert api.client.post(f"{path}/ratings", json={**rating, "pair": 999}).status_code == 404
    headers = {"Idempotency-Key": "once"}
    first, again = (api.client.post(f"{path}/ratings", json=rating, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert api.client.delete(path).status_code == 204
    assert api.client.get(path).status_code == 404


def test_a_study_whose_texts_the_retention_removed_keeps_its_result_and_shows_nothing(
    sqlite_api: Api, job: str
) -> None:
    made = study(sqlite_api, job)
    rate_all(sqlite_api, made, "a rater", "star")
    with transaction(sqlite_api.engine) as session:
        row = session.get_one(Job, job)
        row.status, row.finished_at = JobStatus.SUCCEEDED, clock(-31 * DAY)
        set_rule(session, row.project_id, {"text_days": 30})
    path = f"/v1/studies/{made['id']}"
    before = sqlite_api.client.get(path).json()
    assert before["result"] != made["result"]
    remove_by_age(sqlite_api.engine, 60)
    assert sqlite_api.client.get(path).json() == before
    with transaction(sqlite_api.engine) as session:
        assert {one.first_text + one.second_text for one in session.scalars(select(StudyPair))} == {""}
    sent = {"pair": 0, "choice": "first"}
    for answer in (
        sqlite_api.client.get(f"{path}/next"),
        sqlite_api.client.post(f"{path}/ratings", json=sent),
        sqlite_api.client.post(f"/v1/jobs/{job}/studies", json={}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (410, "texts_removed")
