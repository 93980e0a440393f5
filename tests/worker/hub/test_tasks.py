"""Base models that operators ask for over HTTP: a worker that may fetch adds and checks them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants
from structlog.testing import capture_logs

from app import main as application
from app.database import reading, transaction
from app.ledger.platform.base_model_tasks import (
    MAX_ATTEMPTS,
    claim_task,
    create_task,
    end_task,
    get_task,
    notify_of_tasks,
)
from app.storage import Storage
from app.tables.statuses import BaseModelTaskKind
from tests.app.api_harness import MODEL, Api, make_model, serve
from tests.databases import PROJECT
from tests.factories import make_world
from tests.hub_server import Hub, Repository, running_hub
from tests.platforms import WORKER, platform, wait_until
from worker.context import WorkerContext
from worker.hub.tasks import do_next

TINY = PROJECT / "examples" / "carry" / "model"
NAME = "acme/tiny-1b"
SCRIPT = "tests.worker.hub.scripts:knows_sums"
PATH = "/v1/base-models"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        hub.repositories[NAME] = Repository({path.name: path.read_bytes() for path in TINY.iterdir()})
        yield hub


@pytest.fixture
def api(sqlite_database_url: str, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(application, "FOLLOW_SECONDS", 0.05)
    scripted = {"sampler": "scripted", "sampler_script": SCRIPT}
    with serve(sqlite_database_url, tmp_path / "home", models_fetch=True, **scripted) as api:
        yield api


def worker(api: Api) -> WorkerContext:
    storage = Storage(api.settings.resolved_storage_url())
    return WorkerContext(api.engine, storage, api.settings, "worker:1", draining=lambda: False)


def ask(api: Api, path: str = PATH, **body: Any) -> dict[str, Any]:
    answer = api.client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def newest(api: Api) -> dict[str, Any]:
    return dict(api.client.get(f"{PATH}/tasks").json()["data"][0])


def test_a_model_that_an_operator_asks_for_is_offered_by_the_running_api(api: Api, hub: Hub) -> None:
    assert ask(api, model=NAME, license="mit")["status"] == "queued"
    assert do_next(worker(api))
    done = newest(api)
    assert (done["status"], done["error"], done["progress"]) == ("succeeded", None, None)
    assert done["result"]["revision"] == hub.repositories[NAME].commit
    wait_until(lambda: api.client.get(f"/v1/models/{NAME}").status_code == 200, "it is offered", 20)
    assert api.client.get(f"/v1/models/{NAME}").json()["license"] == "mit"
    assert not do_next(worker(api))


def test_a_model_that_cannot_be_used_fails_with_what_is_wrong(api: Api, hub: Hub) -> None:
    del hub.repositories[NAME].files["tokenizer.json"]
    before = api.settings.models_file.read_text()
    ask(api, model=NAME)
    ask(api, model="acme/unknown")
    assert do_next(worker(api))
    assert do_next(worker(api))
    unknown, unusable = api.client.get(f"{PATH}/tasks").json()["data"]
    assert unusable["status"] == unknown["status"] == "failed"
    assert "has no tokenizer.json" in unusable["error"]
    assert "The hub has no acme/unknown" in unknown["error"]
    assert api.settings.models_file.read_text() == before


def test_the_list_is_followed_on_after_a_folder_that_is_still_being_copied(api: Api) -> None:
    listed = yaml.safe_load(api.settings.models_file.read_text())
    folder = api.settings.models_file.parent / "copied"
    folder.mkdir()
    (folder / "config.json").write_text('{"max_position')
    with capture_logs() as logs:
        api.settings.models_file.write_text(yaml.safe_dump([*listed, {"id": "copied", "location": "copied"}]))
        wait_until(lambda: "allow_list_not_followed" in {one["event"] for one in logs}, "it is refused", 20)
    make_model(folder)
    entry = {"id": "copied", "location": "copied", "license": "mit"}
    api.settings.models_file.write_text(yaml.safe_dump([*listed, entry]))
    wait_until(lambda: api.client.get("/v1/models/copied").status_code == 200, "it is offered", 20)


def test_operators_alone_may_ask(api: Api) -> None:
    for headers in (api.admin, api.reader, api.other):
        for path, body in ((PATH, {"model": NAME}), (f"{PATH}/check", {})):
            assert api.client.post(path, json=body, headers=headers).status_code == 403
        assert api.client.get(f"{PATH}/tasks", headers=headers).status_code == 403


def test_who_asked_is_in_the_audit_log(api: Api) -> None:
    task = ask(api, model=NAME)
    assert task["created_by"]["name"] == "operator"
    entry = api.client.get("/v1/audit", params={"target": task["id"]}).json()["data"][0]
    assert (entry["action"], entry["change"]) == (f"POST {PATH}", "created")


def test_a_name_that_is_taken_is_refused_at_once(api: Api) -> None:
    for body in ({"model": MODEL}, {"model": NAME, "id": MODEL}):
        refused = api.client.post(PATH, json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "model_exists")


def test_a_request_that_is_sent_twice_is_one_task(api: Api) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = (api.client.post(PATH, json={"model": NAME}, headers=headers).json() for _ in range(2))
    assert first["id"] == second["id"]
    assert len(api.client.get(f"{PATH}/tasks").json()["data"]) == 1


def test_a_check_says_whether_the_model_is_better_than_guessing(api: Api) -> None:
    rows = "".join(
        json.dumps({"question": f"What is {n} + 3?", "answer": n + 3}) + "\n" for n in range(10, 40)
    )
    shown = {"question": "What is 1 + 1?", "rationale": "1 + 1 = 2. #### 2", "answer": "2"}
    dataset = api.dataset(rows, kind="numeric", validation=2)["id"]
    prompt_set = api.prompt_set(kind="numeric", examples=[shown])["id"]
    ask(api, f"{PATH}/check", model=MODEL, dataset=dataset, prompt_set=prompt_set, rows=12)
    assert do_next(worker(api))
    done = newest(api)
    assert done["status"] == "succeeded", done["error"]
    assert (done["result"]["right"], done["result"]["asked"], done["result"]["diagnosis"]) == (12, 12, None)


def test_a_check_of_another_projects_dataset_is_refused(api: Api) -> None:
    dataset = api.client.post(
        "/v1/datasets",
        params={"kind": "numeric"},
        content='{"question": "1?", "answer": 1}\n',
        headers=api.other,
    ).json()["id"]
    body = {"model": MODEL, "dataset": dataset, "prompt_set": api.prompt_set()["id"]}
    assert api.client.post(f"{PATH}/check", json=body).status_code == 404


def test_a_task_whose_worker_is_lost_is_claimed_again_and_fails_in_the_end(api: Api) -> None:
    task = ask(api, model=NAME)["id"]
    claims = [claim_task(api.engine, "worker:1", -1) for _ in range(MAX_ATTEMPTS)]
    assert [one.attempt for one in claims if one] == [1, 2, 3]
    assert claims[0] is not None
    assert not end_task(api.engine, claims[0], result={}), "a lost claim writes nothing"
    assert claim_task(api.engine, "worker:1", 60) is None
    with reading(api.engine) as session:
        assert "ended 3 times" in str(get_task(session, task).error)


def test_a_waiting_task_is_told_of_once_until_it_is_time_again(api: Api) -> None:
    task = ask(api, model=NAME)["id"]
    told: list[tuple[str, str]] = []
    for again_after in (60, 60, -1):
        notify_of_tasks(api.engine, lambda *one: told.append(one), again_after)
    assert told == [(task, "models")] * 2


def test_a_list_that_cannot_be_read_changes_nothing(api: Api) -> None:
    list_, before = api.settings.models_file, api.settings.models_file.read_text()
    list_.write_text("- id: [")
    seen = threading.Event()
    assert not seen.wait(0.3)
    assert api.client.get(f"/v1/models/{MODEL}").status_code == 200
    list_.write_text(before)


def test_a_worker_that_may_fetch_adds_it_and_others_do_not(
    sqlite_database_url: str, empty_valkey_url: str, tmp_path: Path, hub: Hub
) -> None:
    """Real processes and the hub's real client."""
    models_file = tmp_path / "models.yaml"
    models_file.write_text("# Only operators write here.\n")
    world = make_world(sqlite_database_url, tmp_path / "home", models_file=models_file, sampler_script=SCRIPT)
    client_of_hub = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker("other", WORKER, **client_of_hub)
        running.worker("fetches", WORKER, STAR_MODELS_FETCH="true", **client_of_hub)
        with transaction(world.engine) as session:
            asked = {"model": NAME, "id": None, "license": None, "context_length": None}
            task_id = create_task(session, BaseModelTaskKind.ADD, asked).id

        def ended() -> bool:
            with reading(world.engine) as session:
                return get_task(session, task_id).ended_at is not None

        wait_until(ended, "the task ends")
        done = [event["log"] for event in running.log_events() if event["event"] == "base_model_task_ended"]
    with reading(world.engine) as session:
        assert get_task(session, task_id).error is None
    assert done == ["fetches"]
    assert [entry["id"] for entry in yaml.safe_load(models_file.read_text())] == [NAME]
