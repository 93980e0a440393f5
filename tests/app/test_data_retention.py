"""For how long a project keeps its texts is read by everybody in it and set by its admins."""

from __future__ import annotations

from app.database import clock, transaction
from app.tables.jobs import Job
from tests.app.api_harness import Api

PATH = "/v1/data-retention"


def test_an_admin_sets_for_how_long_texts_are_kept_and_readers_see_it(api: Api) -> None:
    assert api.client.get(PATH, headers=api.reader).json()["text_days"] is None
    rule = {"text_days": 30, "file_days": 7}
    assert api.client.put(PATH, json=rule, headers=api.reader).status_code == 403
    assert api.client.put(PATH, json=rule, headers=api.admin).status_code == 200
    read = api.client.get(PATH, headers=api.reader)
    assert {name: read.json()[name] for name in ("text_days", "event_days", "file_days")} == {
        "text_days": 30,
        "event_days": None,
        "file_days": 7,
    }
    assert api.client.get(PATH, headers=api.other).json()["text_days"] is None
    stale = api.client.put(PATH, json={}, headers={**api.admin, "If-Match": '"another"'})
    assert stale.status_code == 412
    ours = {"project": read.json()["project"]}
    assert api.client.put(PATH, json=rule, params=ours, headers=api.other).status_code == 404
    assert api.client.put(PATH, json={"text_days": 0}).status_code == 422


def test_texts_that_were_removed_are_gone_and_not_an_empty_list(api: Api) -> None:
    job = api.job()
    with transaction(api.engine) as session:
        session.get_one(Job, job["id"]).texts_removed_at = clock()
    path = f"/v1/jobs/{job['id']}"
    assert api.client.get(path).json()["texts_removed_at"] is not None
    for what in (
        "rationales",
        "answers",
        "candidates",
        "never-solved",
        "coverage",
        "iterations/1/training-set",
    ):
        answer = api.client.get(f"{path}/{what}")
        assert (answer.status_code, answer.json()["code"]) == (410, "texts_removed"), what
    assert api.client.post(f"{path}/fork", json={"from_iteration": 1}).json()["code"] == "texts_removed"
    assert api.client.get(f"{path}/report").status_code == 200
