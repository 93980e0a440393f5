"""POST /v1/jobs/{id}/fork: what is refused, and what it answers."""

from __future__ import annotations

from typing import Any

import pytest

from app.database import transaction
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from tests.app.api_harness import Api
from tests.app.jobs.test_report import PHASES, Written, metrics


@pytest.fixture
def source(api: Api) -> dict[str, Any]:
    """A job whose first iteration is done and whose second is not."""
    job = api.job()
    with transaction(api.engine) as session:
        rows = Written(session, session.get_one(Job, job["id"]))
        rows.evaluate(rows.iteration(0, ["baselines"], {"accuracy": 0.25}), "few_shot_cot", [0])
        first = rows.iteration(1, PHASES, metrics(0.25, 2, 3) | {"accuracy": 0.5})
        rows.sample(first, "generated", ["correct"] * 8)
        rows.evaluate(first, "adapter", [0, 1])
        rows.iteration(2, ["sample"], {})
        session.add(
            Adapter(
                id="adp_source", job_id=job["id"], iteration_number=1, files=[], training={},
                verification={"loads": True},
            )
        )  # fmt: skip
    return job


def fork(api: Api, source: dict[str, Any], number: int, headers: Any = None, **more: Any) -> Any:
    body = {"from_iteration": number, **more}
    return api.client.post(f"/v1/jobs/{source['id']}/fork", json=body, headers=headers)


def test_a_fork_goes_on_with_the_settings_laid_over(api: Api, source: dict[str, Any]) -> None:
    answer = fork(api, source, 1, config={"rationalization": {"enabled": False}}, metadata={"a": "b"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{made['id']}"
    assert made["forked_from"] == {"job": source["id"], "iteration": 1}
    assert (made["phase"], made["iteration"], made["name"]) == ("sample", 2, source["name"])
    assert made["config"]["rationalization"]["enabled"] is False
    kept = {name: value for name, value in made["config"].items() if name != "rationalization"}
    assert kept == {name: source["config"][name] for name in kept}
    assert made["metadata"] == {"a": "b"}
    listed = api.client.get(f"/v1/jobs/{made['id']}/iterations").json()["data"]
    assert [row["number"] for row in listed] == [0, 1, 2]
    assert api.client.get(f"/v1/jobs/{source['id']}").json()["forked_from"] is None


@pytest.mark.parametrize(
    ("number", "config", "status", "code"),
    [
        (2, {}, 409, "iteration_not_done"),
        (7, {}, 409, "iteration_not_done"),
        (1, {"iterations": 1}, 422, "nothing_to_do"),
        (1, {"stop": {"target_accuracy": 0.4}}, 422, "nothing_to_do"),
        (1, {"evaluation": {"max_examples": 2}}, 422, "held_out_differs"),
        (0, {"evaluation": {"baselines": ["few_shot_cot"]}}, 422, "held_out_differs"),
        (1, {"training": {"start_from": "previous", "lora": {"rank": 4}}}, 422, "adapter_differs"),
        (1, {"training": {"start_from": "previous", "optimizer": "carry"}}, 422, "optimizer_differs"),
        (1, {"iteration": 3}, 422, "invalid_config"),
        (1, {"kind": "numeric"}, 422, "kinds_differ"),
    ],
)
def test_a_fork_that_could_not_go_on_is_refused_with_the_mend(
    api: Api, source: dict[str, Any], number: int, config: dict[str, Any], status: int, code: str
) -> None:
    answer = fork(api, source, number, config=config)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    jobs = api.client.get("/v1/jobs").json()["data"]
    assert [job["id"] for job in jobs] == [source["id"]]


def test_the_same_key_makes_one_fork(api: Api, source: dict[str, Any]) -> None:
    key = {"Idempotency-Key": "once"}
    first, again = fork(api, source, 1, key), fork(api, source, 1, key)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = fork(api, source, 0, key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_forks_need_the_scope_and_the_project(api: Api, source: dict[str, Any]) -> None:
    assert fork(api, source, 1, api.other).status_code == 404
    assert fork(api, source, 1, api.reader).status_code == 403


def test_what_a_fork_took_over_is_called_inherited(api: Api, source: dict[str, Any]) -> None:
    forked = fork(api, source, 1).json()
    assert [(one["iteration"], one["inherited"]) for one in forked["accuracies"]] == [(0, True), (1, True)]
    assert forked["best"]["inherited"]
    own = api.client.get(f"/v1/jobs/{source['id']}").json()
    assert not own["best"]["inherited"]
    assert not any(one["inherited"] for one in own["accuracies"])


def test_a_fork_is_tried_out_without_being_made(api: Api, source: dict[str, Any]) -> None:
    changes = {"iterations": 4, "rationalization": {"enabled": False}}
    answer = fork(api, source, 1, config=changes, dry_run=True)
    assert answer.status_code == 200, answer.text
    tried = answer.json()
    assert tried["object"] == "job_dry_run"
    assert tried["config"]["rationalization"]["enabled"] is False
    assert tried["work"]["iterations"] == len(tried["work"]["steps"]) == 3  # of four, one is taken over
    assert len(api.client.get("/v1/jobs").json()["data"]) == 1
    made = fork(api, source, 1, config=changes)
    assert made.json()["config"] == tried["config"]


def test_a_dry_run_of_a_fork_counts_what_the_fork_does_itself(api: Api, source: dict[str, Any]) -> None:
    whole = api.client.post("/v1/jobs", json=api.job_body(dry_run=True)).json()["work"]
    left = fork(api, source, 1, dry_run=True).json()["work"]
    assert left["steps"] == whole["steps"][1:]
    assert left["passes"] == whole["passes"][1:]
    assert 0 < left["tries"] < whole["tries"]


def test_a_dry_run_refuses_what_a_fork_refuses(api: Api, source: dict[str, Any]) -> None:
    answer = fork(api, source, 2, dry_run=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "iteration_not_done")
