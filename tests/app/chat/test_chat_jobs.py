"""Jobs in the chat layout over HTTP: what is shown before, what is asked, what is trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from app.database import reading, transaction
from app.ledger.data.examples import load_examples
from app.ledger.data.prompt_sets import as_prompt_set
from app.tables.data import Dataset, Model, PromptSet
from star_engine.adapters.layout import BaseModel
from star_engine.config.star import StarConfig
from star_engine.data.chat import with_chat
from star_engine.data.chat_template import read_chat_template
from star_engine.gpu.causal_lm import prompt_ids
from star_engine.run import run_star
from star_engine.run_directory import RunDirectory
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler
from star_engine.training_set.rows import training_fields, training_set_sha256
from tests.app.api_harness import MODEL, Api, serve, worker
from tests.app.chat.chat_server import serve_chat
from tests.chat_pupil import pupil
from tests.star_engine.chat.families import THINK

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SYSTEM = "You add numbers."
CONFIG = {
    "iterations": 1,
    "generation": {"max_tokens": 300, "few_shot": "first_iteration"},
    "training": {"schedule": {"kind": "linear", "start": 2, "add": 0}, "max_length": 4000},
    "chat": {"system": SYSTEM},
}
# (4 + 4) of the pupil's wrong texts leave room for a pause on no spark; the data are small
CONFIG["audits"] = {"spark_level": None}


@pytest.fixture
def chat_api(sqlite_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with serve_chat(sqlite_database_url, tmp_path / "home") as api:
        yield api


@pytest.fixture
def done(database_url: str, tmp_path: Path) -> Iterator[tuple[Api, dict[str, Any]]]:
    """A job that was run to its end, with the worker that did it."""
    hub = {"repository": "acme/tiny-chat", "revision": COMMIT}
    with serve_chat(database_url, tmp_path / "home", **hub) as api, worker(api) as work_off:
        job = api.job(config=CONFIG)
        work_off()
        found = api.client.get(f"/v1/jobs/{job['id']}").json()
        assert found["status"] == "succeeded", found
        yield Api(**{**api.__dict__, "work_off": work_off}), found


def _template(api: Api) -> Any:
    found = read_chat_template(api.settings.home / "chat")
    assert found is not None
    return found


def test_a_model_with_a_template_is_asked_in_it_by_default(chat_api: Api) -> None:
    shown = chat_api.client.post("/v1/jobs", json=chat_api.job_body(dry_run=True)).json()
    assert shown["config"]["layout"] == "chat"
    assert shown["config"]["chat"]["template_sha256"] == _template(chat_api).sha256
    assert shown["preview"][0]["prompt"]["text"].endswith("<|im_end|>\n<|im_start|>assistant\n")
    listed = chat_api.client.get(f"/v1/models/{MODEL}").json()
    assert listed["layout"] == "chat"


def test_a_dry_run_counts_the_tokens_that_the_sampler_will_be_given(chat_api: Api) -> None:
    body = chat_api.job_body(dry_run=True, config=CONFIG)
    shown = chat_api.client.post("/v1/jobs", json=body).json()["preview"][0]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(chat_api.settings.home / "chat")
    for part in (shown["prompt"], shown["hinted_prompt"]):
        assert f"system\n{SYSTEM}<|im_end|>" in part["text"]
        assert part["tokens"] == len(prompt_ids(tokenizer, [part["text"]])[0])


def test_a_model_that_is_listed_as_a_base_model_is_not(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve_chat(sqlite_database_url, tmp_path / "home", base=True) as api:
        assert api.job()["config"]["layout"] == "completion"
        assert api.job(config={"layout": "chat"})["config"]["layout"] == "chat"
        assert api.client.get(f"/v1/models/{MODEL}").json()["layout"] == "completion"


def test_a_model_without_a_template_refuses_the_chat_layout(sqlite_api: Api) -> None:
    assert sqlite_api.job()["config"]["layout"] == "completion"
    refused = sqlite_api.client.post("/v1/jobs", json=sqlite_api.job_body(config={"layout": "chat"}))
    assert refused.status_code == 422
    assert refused.json()["code"] == "layout_unfit"
    assert refused.json()["errors"][0]["field"] == "config.layout"


def test_chat_settings_of_a_job_in_the_completion_layout_are_refused(sqlite_api: Api) -> None:
    body = sqlite_api.job_body(config={"chat": {"system": SYSTEM}})
    refused = sqlite_api.client.post("/v1/jobs", json=body)
    assert refused.status_code == 422
    assert "set layout to chat" in refused.text


def test_a_template_that_cannot_be_used_leaves_the_model_its_completion_layout(
    sqlite_database_url: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with serve_chat(sqlite_database_url, home) as api:
        (home / "chat" / "generation_config.json").write_text("{}")
        (home / "chat" / "tokenizer_config.json").write_text("{}")
    with serve(sqlite_database_url, home, models_file=home / "chat-models.yaml") as api:
        shown = api.client.post("/v1/jobs", json=api.job_body(dry_run=True)).json()
        assert shown["config"]["layout"] == "completion"
        told = {one["code"]: one["message"] for one in shown["warnings"]}
        assert "<|im_end|>" in told["not_in_chat"]
        refused = api.client.post("/v1/jobs", json=api.job_body(config={"layout": "chat"})).json()
        assert "<|im_end|>" in refused["errors"][0]["reason"]


def test_a_preview_of_the_prompt_set_is_in_the_models_template(chat_api: Api) -> None:
    prompt_set = chat_api.prompt_set()["id"]
    body = {"example": {"question": "2 + 3", "answer": "5", "group": "1"}, "model": MODEL}
    shown = chat_api.client.post(f"/v1/prompt-sets/{prompt_set}/preview", json=body).json()
    assert shown["prompt"].endswith("user\n2 + 3<|im_end|>\n<|im_start|>assistant\n")
    assert "user\n2 + 3\nTarget: 5<|im_end|>" in shown["hinted_prompt"]
    row = shown["training_row"]
    assert row["completion"].startswith("<think>\n\n</think>\n\n<scratch>")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(chat_api.settings.home / "chat")
    assert shown["tokens"]["prompt"] == len(prompt_ids(tokenizer, [shown["prompt"]])[0])
    without = {**body, "model": None, "config": {"layout": "chat"}}
    refused = chat_api.client.post(f"/v1/prompt-sets/{prompt_set}/preview", json=without)
    assert refused.json()["code"] == "no_model"


def test_a_chat_job_trains_on_what_was_sampled_behind_its_own_prompt(
    done: tuple[Api, dict[str, Any]],
) -> None:
    api, job = done
    url = f"/v1/jobs/{job['id']}/rationales"
    kept = api.client.get(url, params={"decision": "kept", "limit": 100}).json()["data"]
    assert {one["route"] for one in kept} == {"generated", "rationalized"}
    for one in kept:
        found = api.client.get(f"{url}/{one['id']}").json()
        row = found["training_row"]
        assert row["completion"] == found["text"]
        assert found["text"].startswith(THINK)
        asked = f"user\n{one['example']['question']}<|im_end|>\n<|im_start|>assistant\n"
        assert row["prompt"].endswith(asked)
        assert row["prompt"].startswith(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n")
        assert ("Target:" in found["prompt"]) is (one["route"] == "rationalized")


def test_a_training_set_is_downloaded_as_the_conversations_that_were_trained_on(
    done: tuple[Api, dict[str, Any]],
) -> None:
    api, job = done
    url = f"/v1/jobs/{job['id']}/iterations/1/training-set"
    answer = api.client.get(url, params={"format": "messages"})
    conversations = [json.loads(line) for line in answer.text.splitlines()]
    rows = [json.loads(line) for line in api.client.get(url).text.splitlines()]
    assert len(rows) == len(conversations) > 0
    tokenizer = PreTrainedTokenizerFast.from_pretrained(api.settings.home / "chat")
    for row, found in zip(rows, conversations, strict=True):
        assert [turn["role"] for turn in found["messages"]] == ["system", "user", "assistant"]
        assert found["example_id"] == row["example_id"]
        assert found["as_trained"] is True
        rendered = tokenizer.apply_chat_template(found["messages"], tokenize=False)
        assert rendered == f"{row['prompt']}{row['completion']}<|im_end|>\n"


def test_an_adapter_brings_a_prompt_to_copy_and_says_what_it_was_made_with(
    done: tuple[Api, dict[str, Any]],
) -> None:
    api, job = done
    adapter = api.client.get(f"/v1/jobs/{job['id']}/adapters").json()["data"][0]
    files = {one["path"]: api.client.get(one["url"]) for one in adapter["files"]}
    prompt = files["prompt_example.txt"].text
    assert prompt.startswith(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n")
    assert prompt.endswith("<|im_start|>assistant\n")
    assert prompt in files["README.md"].text
    assert files["manifest.json"].json()["prompt"] == {
        "layout": "chat",
        "template_sha256": job["config"]["chat"]["template_sha256"],
        "system": SYSTEM,
        "example": "prompt_example.txt",
    }


def test_an_adapter_names_its_base_model_as_the_hub_does(done: tuple[Api, dict[str, Any]]) -> None:
    api, job = done
    adapter = api.client.get(f"/v1/jobs/{job['id']}/adapters").json()["data"][0]
    files = {one["path"]: api.client.get(one["url"]) for one in adapter["files"]}
    config = files["adapter_config.json"].json()
    assert (config["base_model_name_or_path"], config["revision"]) == ("acme/tiny-chat", COMMIT)
    assert "base_model: acme/tiny-chat\n" in files["README.md"].text
    assert 'AutoPeftModelForCausalLM.from_pretrained("path' in files["README.md"].text
    assert api.client.get(f"/v1/models/{MODEL}").json()["repository"] == "acme/tiny-chat"


def test_the_library_trains_on_the_same_conversations(
    done: tuple[Api, dict[str, Any]], tmp_path: Path
) -> None:
    """The job's own settings through `run_star`: the same rows to the byte, and the same prompt to copy."""
    api, job = done
    config, script = StarConfig.model_validate(job["config"]), pupil()
    with reading(api.engine) as session:
        found = as_prompt_set(session.get_one(PromptSet, job["prompt_set"]))
        splits = session.get_one(Dataset, job["dataset"]).splits
        train, held_out = (
            [one for _, one in load_examples(session, job["dataset"], split, range(splits[split]))]
            for split in ("train", "validation")
        )
    events = run_star(
        config,
        train,
        held_out,
        with_chat(config, found, _template(api)),
        ScriptedSampler(script),
        RecordingTrainer(script),
        tmp_path / "run",
        base=BaseModel("acme/tiny-chat", COMMIT),
    )
    assert list(events)[-1].name == "stopped"
    ran = RunDirectory(tmp_path / "run")
    service = api.client.get(f"/v1/jobs/{job['id']}/iterations/1").json()
    assert training_set_sha256(ran.training_set(1)) == service["training_set_sha256"]
    exported = api.client.get(f"/v1/jobs/{job['id']}/iterations/1/training-set").text
    assert [json.loads(line) for line in exported.splitlines()] == [
        training_fields(row) for row in ran.training_set(1)
    ]
    adapter = api.client.get(f"/v1/jobs/{job['id']}/adapters").json()["data"][0]
    files = {one["path"]: api.client.get(one["url"]) for one in adapter["files"]}
    manifest = json.loads((ran.adapter(1) / "manifest.json").read_text())
    assert manifest["prompt"] == files["manifest.json"].json()["prompt"]
    for name in ("prompt_example.txt", "README.md", "adapter_config.json"):
        assert (ran.adapter(1) / name).read_text() == files[name].text


def test_prompts_whose_template_is_gone_are_told_as_such(done: tuple[Api, dict[str, Any]]) -> None:
    api, job = done
    url = f"/v1/jobs/{job['id']}/rationales"
    one = api.client.get(url, params={"limit": 1}).json()["data"][0]
    with transaction(api.engine) as session:
        session.get_one(Model, MODEL).location = "no/such/folder"
    exported = f"/v1/jobs/{job['id']}/iterations/1"
    for asked in (f"{url}/{one['id']}", f"{exported}/training-set?format=messages", f"{exported}/pairs"):
        found = api.client.get(asked)
        assert (found.status_code, found.json()["code"]) == (409, "template_unavailable")


def test_a_trial_asks_in_the_layout_of_the_adapters_job(done: tuple[Api, dict[str, Any]]) -> None:
    api, job = done
    adapter = api.client.get(f"/v1/jobs/{job['id']}/adapters").json()["data"][0]["id"]
    body = {"questions": [{"question": "2 + 3", "answer": "5", "group": "1"}], "beside_base": True}
    trial = api.client.post(f"/v1/adapters/{adapter}/generate", json=body).json()
    api.work_off()
    found = api.client.get(f"/v1/trials/{trial['id']}").json()
    assert [one["verdict"] for one in found["answers"]] == ["correct", "correct"]


def test_a_fork_keeps_the_layout_and_cannot_change_it(done: tuple[Api, dict[str, Any]]) -> None:
    api, job = done
    url = f"/v1/jobs/{job['id']}/fork"
    body = {"from_iteration": 1, "config": {"iterations": 2}}
    fork = api.client.post(url, json=body)
    assert fork.status_code == 201, fork.text
    assert fork.json()["config"]["chat"] == job["config"]["chat"]
    for changed in ({"layout": "completion", "chat": {"system": None}}, {"chat": {"system": "Else."}}):
        refused = api.client.post(url, json={"from_iteration": 1, "config": {"iterations": 2, **changed}})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] in ("config.layout", "config")
