"""Held-out answers over HTTP: every text behind an accuracy can be read, and what was gained and lost."""

from __future__ import annotations

from typing import Any

import pytest

from app.database import transaction
from app.tables.jobs import Job
from tests.app.api_harness import Api
from tests.app.jobs.test_report import PHASES, Written


@pytest.fixture
def job(api: Api) -> dict[str, Any]:
    """Four held-out examples: few-shot gets 0 right, iteration 1 gets 0, 1, 2, iteration 2 gets 1, 3."""
    job = api.job()
    with transaction(api.engine) as session:
        rows = Written(session, session.get_one(Job, job["id"]))
        baselines = rows.iteration(0, ["baselines"], {})
        rows.evaluate(baselines, "few_shot_direct", [])
        rows.evaluate(baselines, "few_shot_cot", [0])
        rows.evaluate(rows.iteration(1, PHASES, {}), "adapter", [0, 1, 2])
        second = rows.iteration(2, PHASES, {})
        rows.evaluate(second, "adapter", [1, 3])
        rows.evaluate(second, "adapter/ds_other", [0])
    return job


def get(api: Api, job: dict[str, Any], **params: Any) -> dict[str, Any]:
    answer = api.client.get(f"/v1/jobs/{job['id']}/answers", params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def held_out(api: Api, job: dict[str, Any]) -> list[str]:
    rows = api.client.get(f"/v1/datasets/{job['dataset']}/examples", params={"split": "validation"}).json()
    return [row["id"] for row in rows["data"]]


def examples(found: dict[str, Any]) -> list[str]:
    return [row["example"]["id"] for row in found["data"]]


def test_every_answer_of_baselines_and_iterations_is_there(api: Api, job: dict[str, Any]) -> None:
    found = get(api, job, limit=100)
    assert found["has_more"] is False
    told = [(row["iteration"], row["mode"], row["verdict"]) for row in found["data"]]
    assert len(told) == 16
    assert told[:5] == [
        (0, "few_shot_cot", "correct"),
        *[(0, "few_shot_cot", "wrong")] * 3,
        (0, "few_shot_direct", "wrong"),
    ]
    assert told[-1] == (2, "adapter", "correct")
    one = found["data"][0]
    assert (one["object"], one["dataset"], one["changed"], one["against"]) == ("answer", None, None, None)
    assert one["example"]["question"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"iteration": 1, "verdict": "wrong"}, [3]),
        ({"mode": "few_shot_cot", "verdict": "correct"}, [0]),
        ({"iteration": 0}, [0, 1, 2, 3, 0, 1, 2, 3]),
        ({"iteration": 1, "changed": "gained"}, [1, 2]),
        ({"iteration": 1, "changed": "lost"}, []),
        ({"iteration": 2, "changed": "lost"}, [0]),
        ({"iteration": 2, "changed": "lost", "against": "1"}, [0, 2]),
        ({"iteration": 2, "changed": "gained", "against": "1"}, [3]),
        ({"mode": "adapter", "changed": "gained", "against": "few_shot_direct"}, [0, 1, 2, 1, 3]),
        ({"dataset": "ds_other", "verdict": "correct"}, [0]),
    ],
)
def test_filters_tell_what_was_gained_and_lost(
    api: Api, job: dict[str, Any], filters: dict[str, Any], expected: list[int]
) -> None:
    names = held_out(api, job)
    assert examples(get(api, job, limit=100, **filters)) == [names[position] for position in expected]


def test_an_answer_stands_beside_the_one_it_is_held_against(api: Api, job: dict[str, Any]) -> None:
    first, *_, last = get(api, job, iteration=2, against="1")["data"]
    assert (first["verdict"], first["against"]["verdict"], first["changed"]) == ("wrong", "correct", "lost")
    assert (last["verdict"], last["against"]["verdict"], last["changed"]) == ("correct", "wrong", "gained")


def test_pages_go_through_all_answers_once(api: Api, job: dict[str, Any]) -> None:
    whole = [row["id"] for row in get(api, job, limit=100)["data"]]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        found = get(api, job, limit=3, **cursor)
        seen += [row["id"] for row in found["data"]]
        if not found["has_more"]:
            break
        cursor = {"after": found["last_id"]}
    assert seen == whole


def test_one_example_over_all_models(api: Api, job: dict[str, Any]) -> None:
    found = get(api, job, example=held_out(api, job)[0])
    assert [(row["iteration"], row["verdict"]) for row in found["data"]] == [
        (0, "correct"), (0, "wrong"), (1, "correct"), (2, "wrong")
    ]  # fmt: skip


@pytest.mark.parametrize("params", [{"against": "9"}, {"against": "sky"}, {"after": "rat_1"}])
def test_what_is_not_there_is_refused_by_name(api: Api, job: dict[str, Any], params: dict[str, Any]) -> None:
    answer = api.client.get(f"/v1/jobs/{job['id']}/answers", params=params)
    assert answer.status_code == 400
    assert next(iter(params.values())) in answer.json()["detail"]


def test_changed_needs_something_to_be_held_against(api: Api) -> None:
    job = api.job()
    answer = api.client.get(f"/v1/jobs/{job['id']}/answers", params={"changed": "lost"})
    assert answer.status_code == 400
    assert "no few-shot baseline" in answer.json()["detail"]
    assert get(api, job)["data"] == []


def test_another_projects_job_is_404(api: Api, job: dict[str, Any]) -> None:
    url = f"/v1/jobs/{job['id']}/answers"
    assert api.client.get(url, headers=api.other).status_code == 404
    assert api.client.get(url, headers=api.reader).status_code == 200
