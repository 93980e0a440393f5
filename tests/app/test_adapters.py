"""What people do with adapters: ask them, measure them elsewhere, name the best, keep some, delete others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.database import reading, transaction
from app.ledger.data.files import remove_deleted_files
from app.ledger.jobs.retention import apply_retention, remove_weights
from app.storage import MissingArtifact, Storage
from app.tables.files import File
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from star_engine.adapters.roles import AdapterRole
from tests import databases
from tests.app.api_harness import Api, addition_rows, serve, worker
from tests.factories import CONFIG, SCRIPT

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = tmp_path_factory.mktemp("adapters")
    settings = {"sampler": "scripted", "sampler_script": SCRIPT, "shard_examples": 6}
    if request.param == "sqlite":
        url = f"sqlite:///{home / 'star.db'}"
        databases.migrate(url)
        with serve(url, home / "home", **settings) as api, worker(api) as work_off:
            yield replace(api, work_off=work_off)
    else:
        with (
            databases.postgres_copy(request.getfixturevalue("postgres_template")) as url,
            serve(url, home / "home", **settings) as api,
            worker(api) as work_off,
        ):
            yield replace(api, work_off=work_off)


@pytest.fixture(scope="module")
def job(api: Api) -> str:
    return run_job(api)


def run_job(api: Api, retention: dict[str, Any] | None = None, config: Mapping[str, Any] = CONFIG) -> str:
    config = {name: value for name, value in config.items() if name != "kind"}
    dataset = api.dataset(addition_rows(24), validation=8)
    made = str(api.job(dataset=dataset["id"], config=config)["id"])
    if retention is not None:
        assert api.client.put(f"/v1/jobs/{made}/retention", json=retention).status_code == 200
    api.work_off()
    return made


def adapters(api: Api, job: str) -> list[dict[str, Any]]:
    return list(api.client.get(f"/v1/jobs/{job}/adapters").json()["data"])


def ask(api: Api, adapter: str, *questions: dict[str, Any], **more: Any) -> Any:
    return api.client.post(f"/v1/adapters/{adapter}/generate", json={"questions": questions, **more})


def weights_of(adapter: dict[str, Any]) -> str:
    return next(str(file["sha256"]) for file in adapter["files"] if file["path"] == WEIGHTS)


def test_the_best_and_the_last_adapter_of_a_job_have_names(api: Api, job: str) -> None:
    first, last = adapters(api, job)
    assert (first["role"], last["role"]) == ("generator", "generator")
    best = api.client.get(f"/v1/jobs/{job}").json()["best"]["adapter_id"]
    for alias, id_ in {"best": best, "last": last["id"], "1": first["id"]}.items():
        assert api.client.get(f"/v1/adapters/{job}:{alias}").json()["id"] == id_
    assert api.client.get(f"/v1/adapters/{job}:best/files/manifest.json").status_code == 200
    assert api.client.get(f"/v1/adapters/{job}:7").status_code == 404
    assert api.client.get(f"/v1/adapters/{job}:best", headers=api.other).status_code == 404


def test_adapters_of_all_jobs_are_listed_newest_first(api: Api, job: str) -> None:
    first, last = adapters(api, job)
    page = api.client.get("/v1/adapters", params={"limit": 1, "model": "tiny"}).json()
    assert page["data"][0]["id"] >= last["id"]
    rest = api.client.get("/v1/adapters", params={"after": last["id"]}).json()
    assert rest["data"][0]["id"] == first["id"]
    assert api.client.get("/v1/adapters", headers=api.other).json()["data"] == []


def test_a_trial_is_answered_by_adapter_and_base_and_judged_where_the_answer_is_known(
    api: Api, job: str
) -> None:
    known = {"question": "2 7 + 3 8", "answer": "6 5", "group": "2"}
    asked = ask(api, f"{job}:last", known, {"question": "1 2 + 3 3", "group": "2"}, beside_base=True)
    assert (asked.status_code, asked.json()["status"]) == (202, "queued"), asked.text
    api.work_off()
    trial = api.client.get(asked.headers["location"], params={"wait": 5}).json()
    assert trial["status"] == "succeeded", trial["status_reason"]
    found = {(answer["asked"], answer["position"]): answer for answer in trial["answers"]}
    assert sorted(found) == [("adapter", 0), ("adapter", 1), ("base", 0), ("base", 1)]
    assert (found["adapter", 0]["extracted"], found["adapter", 0]["verdict"]) == ("6 5", "correct")
    assert found["adapter", 1]["text"].endswith("4 5")
    assert found["adapter", 1]["verdict"] is None
    assert found["base", 0]["verdict"] != "correct"  # it forgets the carry


def test_an_adapter_that_judges_texts_is_asked_no_questions(api: Api, job: str) -> None:
    adapter = adapters(api, job)[-1]["id"]
    wanted = {"dataset": api.dataset()["id"], "split": "validation"}
    with transaction(api.engine) as session:
        session.get_one(Adapter, adapter).role = AdapterRole.VERIFIER
    try:
        refused = [
            ask(api, adapter, {"question": "1 + 1", "group": "1"}),
            api.client.post(f"/v1/adapters/{adapter}/evaluate", json=wanted),
        ]
    finally:
        with transaction(api.engine) as session:
            session.get_one(Adapter, adapter).role = AdapterRole.GENERATOR
    for answer in refused:
        assert answer.status_code == 422, answer.text
        [error] = answer.json()["errors"]
        assert (error["field"], error["fix"]) == (
            "adapter",
            "Name an adapter of the role generator or quiet.",
        )


def test_trials_are_not_listed_as_jobs_and_belong_to_their_project(api: Api, job: str) -> None:
    trial = ask(api, f"{job}:last", {"question": "1 + 1", "group": "1"}).json()["id"]
    assert trial not in [one["id"] for one in api.client.get("/v1/jobs").json()["data"]]
    assert api.client.get(f"/v1/trials/{trial}", headers=api.other).status_code == 404
    assert api.client.get(f"/v1/trials/{job}").status_code == 404
    api.work_off()


def test_a_question_of_a_group_that_the_prompt_set_does_not_know_is_refused(api: Api, job: str) -> None:
    refused = ask(api, f"{job}:last", {"question": "1 + 1", "group": "9"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "questions"


def test_an_adapter_is_measured_on_another_dataset_as_a_job(api: Api, job: str) -> None:
    other = api.dataset(addition_rows(30), validation=10)
    adapter = adapters(api, job)[-1]
    body = {"dataset": other["id"], "split": "validation", "max_examples": 7}
    made = api.client.post(f"/v1/adapters/{adapter['id']}/evaluate", json=body)
    assert made.status_code == 202, made.text
    assert (made.json()["purpose"], made.json()["adapter"]) == ("evaluation", adapter["id"])
    api.work_off()
    done = api.client.get(made.headers["location"]).json()
    assert (done["status"], done["stop_reason"]) == ("succeeded", "completed_iterations")
    (iteration,) = api.client.get(made.headers["location"] + "/iterations").json()["data"]
    assert iteration["number"] == adapter["iteration"]
    assert (iteration["metrics"]["evaluated"]["n"], iteration["metrics"]["accuracy"]) == (7, 1.0)


@pytest.mark.parametrize("verb", ["generate", "evaluate"])
def test_one_idempotency_key_asks_an_adapter_once(api: Api, job: str, verb: str) -> None:
    questions = {"questions": [{"question": "1 + 2"}]}
    body = questions if verb == "generate" else {"dataset": api.dataset()["id"], "split": "validation"}
    url, key = f"/v1/adapters/{job}:last/{verb}", {"Idempotency-Key": f"once {verb}"}
    first = api.client.post(url, json=body, headers=key)
    again = api.client.post(url, json=body, headers=key)
    assert (first.status_code, again.status_code) == (202, 202), first.text
    assert first.json()["id"] == again.json()["id"]
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    other = api.client.post(url, json={**body, "max_tokens": 7}, headers=key)
    if verb == "generate":
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    api.work_off()


def test_an_evaluation_without_examples_in_its_split_is_refused(api: Api, job: str) -> None:
    body = {"dataset": api.dataset()["id"], "split": "test"}
    refused = api.client.post(f"/v1/adapters/{job}:last/evaluate", json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "split"


def test_an_adapter_that_is_pinned_or_in_use_is_not_deleted(api: Api, job: str) -> None:
    adapter = adapters(api, job)[0]["id"]
    url = f"/v1/adapters/{adapter}"
    assert api.client.patch(url, json={"pinned": True}).json()["pinned"] is True
    assert api.client.delete(url).json()["code"] == "adapter_pinned"
    api.client.patch(url, json={"pinned": False})
    asked = ask(api, adapter, {"question": "1 + 1", "group": "1"})
    assert api.client.delete(url).json()["code"] == "adapter_in_use"
    api.work_off()
    assert api.client.get(asked.headers["location"]).json()["status"] == "succeeded"


def test_retention_keeps_the_best_and_what_is_pinned(api: Api) -> None:
    job = run_job(api, {"keep_last": 0, "keep_best": True, "days": None})
    best = api.client.get(f"/v1/jobs/{job}").json()["best"]["adapter_id"]
    assert apply_retention(api.engine) == 1
    kept = [one["id"] for one in adapters(api, job) if one["deleted_at"] is None]
    assert kept == [best]
    assert apply_retention(api.engine) == 0
    api.client.put(f"/v1/jobs/{job}/retention", json={"days": 1e-9})
    api.client.patch(f"/v1/adapters/{best}", json={"pinned": True})
    assert apply_retention(api.engine) == 0
    api.client.patch(f"/v1/adapters/{best}", json={"pinned": False})
    assert apply_retention(api.engine) == 1


def test_a_retention_beyond_all_calendars_keeps_everything(api: Api) -> None:
    """Such rules used to be taken, and ended every scheduler of the platform once their job had ended."""
    job = run_job(api)
    path = f"/v1/jobs/{job}/retention"
    for days in ("1e9", "Infinity", "NaN"):
        refused = api.client.put(
            path, content=f'{{"days": {days}}}', headers={"Content-Type": "application/json"}
        )
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "days"), refused.text
    with transaction(api.engine) as session:
        session.get_one(Job, job).retention = {"days": 1e300}
    assert apply_retention(api.engine) == 0


@pytest.mark.parametrize("area", ["its own", "the common one, as before areas"])
def test_another_projects_files_take_nothing_of_an_adapter_with_them(api: Api, area: str) -> None:
    storage = Storage(api.settings.resolved_storage_url())
    config = {**CONFIG, "seed": len(area)}  # weights that no other adapter has
    job = run_job(api, config=config)
    adapter = adapters(api, job)[-1]
    url = f"/v1/adapters/{adapter['id']}"
    copies = [
        upload_file(api, api.client.get(f"{url}/files/{file['path']}").content) for file in adapter["files"]
    ]
    if area != "its own":
        with transaction(api.engine) as session:
            session.execute(update(File).where(File.id.in_(copies)).values(area=None))
    for copy in copies:
        assert api.client.delete(f"/v1/files/{copy}", headers=api.other).status_code == 200
    assert remove_deleted_files(api.engine, storage, idle=timedelta(0)) == len(copies) > 3
    assert api.client.get(f"{url}/archive").status_code == 200
    for file in adapter["files"]:
        assert api.client.get(f"{url}/files/{file['path']}").status_code == 200
    fork = api.client.post(f"/v1/jobs/{job}/fork", json={"from_iteration": 1})
    assert fork.status_code == 201, fork.text
    api.work_off()
    assert api.client.get(f"/v1/jobs/{fork.json()['id']}").json()["status"] == "succeeded"


def test_a_deleted_adapter_takes_nothing_of_an_equal_file_with_it(api: Api) -> None:
    storage = Storage(api.settings.resolved_storage_url())
    job = run_job(api, config={**CONFIG, "seed": 77})
    adapter = adapters(api, job)[-1]
    weights = api.client.get(f"/v1/adapters/{adapter['id']}/files/{WEIGHTS}").content
    copies = [upload_file(api, weights), upload_file(api, weights)]
    with transaction(api.engine) as session:  # one of them as files lay before they had areas
        session.execute(update(File).where(File.id == copies[0]).values(area=None))
    api.client.delete(f"/v1/adapters/{adapter['id']}")
    assert remove_weights(api.engine, storage, idle=timedelta(0)) >= 1
    for copy in copies:
        assert api.client.get(f"/v1/files/{copy}/content", headers=api.other).content == weights
        api.client.delete(f"/v1/files/{copy}", headers=api.other)
    remove_deleted_files(api.engine, storage, idle=timedelta(0))


def test_the_same_bytes_uploaded_twice_go_with_the_last_file(api: Api) -> None:
    storage = Storage(api.settings.resolved_storage_url())
    first, second = upload_file(api, b"twice"), upload_file(api, b"twice")
    api.client.delete(f"/v1/files/{first}", headers=api.other)
    assert remove_deleted_files(api.engine, storage, idle=timedelta(0)) == 1
    assert api.client.get(f"/v1/files/{second}/content", headers=api.other).content == b"twice"
    with reading(api.engine) as session:
        file = session.get_one(File, second)
    api.client.delete(f"/v1/files/{second}", headers=api.other)
    assert remove_deleted_files(api.engine, storage, idle=timedelta(0)) == 1
    with pytest.raises(MissingArtifact):
        storage.area(file.area).size(file.sha256)


def upload_file(api: Api, content: bytes) -> str:
    """A file of the other project."""
    files = {"file": ("copy", content)}
    answer = api.client.post("/v1/files", files=files, data={"purpose": "fine-tune"}, headers=api.other)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_deleted_weights_go_once_no_adapter_has_them_and_the_manifest_stays(api: Api) -> None:
    storage = Storage(api.settings.resolved_storage_url())
    jobs = [run_job(api), run_job(api)]
    (deleted, *_), (twin, *_) = (adapters(api, job) for job in jobs)
    assert weights_of(deleted) == weights_of(twin)  # same data, seed and script: the same bytes
    url = f"/v1/adapters/{deleted['id']}"
    assert api.client.delete(url).json()["deleted_at"] is not None
    assert api.client.get(f"{url}/files/{WEIGHTS}").status_code == 410
    assert api.client.get(f"{url}/archive").status_code == 410
    assert ask(api, deleted["id"], {"question": "1 + 1", "group": "1"}).json()["code"] == "adapter_deleted"
    assert remove_weights(api.engine, storage, idle=timedelta(0)) >= 1
    assert storage.size(weights_of(twin)) > 0
    for one in api.client.get("/v1/adapters", params={"limit": 100}).json()["data"]:
        api.client.delete(f"/v1/adapters/{one['id']}")
    assert remove_weights(api.engine, storage, idle=timedelta(0)) >= 1
    with pytest.raises(MissingArtifact):
        storage.size(weights_of(twin))
    assert api.client.get(f"{url}/files/manifest.json").status_code == 200
