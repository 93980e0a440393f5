"""Adapters that think between tokens, asked over HTTP: trials and evaluations by a real model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from app.main import create_app
from tests import databases
from tests.app.api_harness import Api, serve, worker
from tests.app.dashboard.conftest import sign_in
from tests.worker.test_quiet_star import MODEL, body, created, got, lines, sums

pytestmark = pytest.mark.xdist_group("quiet_star_asked")
ASKED = "Input:\n2 7 + 3 5\nTarget:"


@dataclass(frozen=True)
class Trained:
    api: Api
    job: str
    adapter: str
    choices: str  # a dataset that the job measures along
    work_off: Callable[[], None]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """A platform with a worker, and an adapter that thinks."""
    home = tmp_path_factory.mktemp("asked")
    url = f"sqlite:///{home / 'star.db'}"
    databases.migrate(url)
    models = home / "models.yaml"
    models.write_text(yaml.safe_dump([{"id": "tiny", "location": str(MODEL), "license": "mit"}]))
    with ExitStack() as stack:
        api = stack.enter_context(
            serve(url, home / "home", models_file=models, sampler="transformers", threads=1)
        )
        work_off = stack.enter_context(worker(api))
        rows = [
            {"id": "read", "question": "Which is cold?", "choices": ["ice", "fire"], "answer": "a"},
            {"id": "dry", "question": "Which is dry?", "choices": ["sea", "desert"], "answer": "b"},
            {"id": "wet", "question": "Which is wet?", "choices": ["sea", "desert"], "answer": "a"},
        ]
        split = [{**one, "split": "validation" if one["id"] != "read" else "train"} for one in rows]
        choices = api.dataset(lines(split), kind="choice", validation=0)["id"]
        job = created(api, body(api, config={"evaluation": {"also": [choices]}}))
        work_off()
        [adapter] = got(api, f"/v1/jobs/{job['id']}/adapters")["data"]
        yield Trained(api, job["id"], adapter["id"], choices, work_off)


def asked(there: Trained, **sent: Any) -> dict[str, Any]:
    """The trial, once it has ended."""
    answer = there.api.client.post(f"/v1/adapters/{there.adapter}/generate", json=sent)
    assert answer.status_code == 202, answer.text
    there.work_off()
    return dict(got(there.api, f"/v1/trials/{answer.json()['id']}"))


def test_a_text_goes_on_with_a_thought_before_each_token(trained: Trained) -> None:
    api, adapter = trained.api, trained.adapter
    trial = asked(trained, questions=[{"question": ASKED}], max_tokens=6, beside_base=True)
    assert trial["status"] == "succeeded", trial["status_reason"]
    of_adapter, of_base = sorted(trial["answers"], key=lambda one: one["asked"])
    assert of_base["thoughts"] is None
    thoughts = of_adapter["thoughts"]
    assert len(thoughts) == of_adapter["tokens"] > 0
    assert "".join(one["token"] for one in thoughts).strip() == of_adapter["text"]
    assert all(one["thought"] for one in thoughts)
    again = asked(trained, questions=[{"question": ASKED}], max_tokens=6)
    assert again["answers"][0]["thoughts"] == thoughts
    page = sign_in(api, api.admin).get(f"/adapters/{adapter}", trial=trial["id"]).text
    assert "What it thought before each token" in page


def test_a_question_of_a_kind_is_laid_out_as_such_and_its_answer_judged(trained: Trained) -> None:
    sent = [{"question": "2 7 + 3 5", "answer": "6 2"}]
    trial = asked(trained, questions=sent, kind="scratchpad", max_tokens=12)
    assert trial["status"] == "succeeded", trial["status_reason"]
    [answer] = trial["answers"]
    assert answer["verdict"] in ("correct", "wrong", "unparsed", "ambiguous")


def test_a_dataset_is_answered_with_thoughts_and_without(trained: Trained) -> None:
    api, adapter = trained.api, trained.adapter
    rows = [{"question": q, "answer": a, "split": "test"} for q, a in sums(4, 3)]
    dataset = api.dataset(lines([{"question": "1 + 1", "answer": "2"}, *rows]), kind="scratchpad")["id"]
    answer = api.client.post(f"/v1/adapters/{adapter}/evaluate", json={"dataset": dataset, "max_examples": 3})
    assert answer.status_code == 202, answer.text
    trained.work_off()
    job = got(api, f"/v1/jobs/{answer.json()['id']}")
    assert job["status"] == "succeeded", job["status_reason"]
    [iteration] = got(api, f"/v1/jobs/{job['id']}/iterations")["data"]
    metrics = iteration["metrics"]
    assert (metrics["evaluated"]["n"], metrics["without_thoughts"]["n"]) == (3, 3)
    for mode in ("adapter", "adapter_without_thoughts"):
        assert len(got(api, f"/v1/jobs/{job['id']}/answers?mode={mode}")["data"]) == 3
    visitor = sign_in(api, api.admin)
    for path in ("", "/answers", "/results", "/iterations/1"):
        assert visitor.get(f"/jobs/{job['id']}{path}").status_code in (200, 404), path
    assert "Without its thoughts" in visitor.get(f"/jobs/{job['id']}/now").text


def test_choice_questions_are_scored_and_answered_with_thoughts_and_without(trained: Trained) -> None:
    api, job, choices = trained.api, trained.job, trained.choices
    found = got(api, f"/v1/jobs/{job}/iterations/1")["metrics"]["thinking"]["zero_shot"][choices]
    assert (found["n"], found["too_long"], found["generated"]["n"]) == (2, 0, 2)
    for way, mode in (("with", "adapter"), ("without", "adapter_without_thoughts")):
        assert 0 < found["gold_probability"][way] < 1
        assert found["accuracy"][way] in (0, 0.5, 1)
        answers = got(api, f"/v1/jobs/{job}/answers?dataset={choices}&mode={mode}")["data"]
        assert {one["example"]["id"] for one in answers} == {"wet", "dry"}
        assert {one["verdict"] for one in answers} <= {"correct", "wrong", "unparsed", "ambiguous"}
        assert found["generated"][way] == sum(one["verdict"] == "correct" for one in answers) / 2


def test_a_choice_question_is_laid_out_with_its_choices(trained: Trained) -> None:
    question = {"question": "Which is dry?", "choices": ["sea", "desert"], "answer": "b"}
    trial = asked(trained, questions=[question], kind="choice", max_tokens=4)
    assert trial["status"] == "succeeded", trial["status_reason"]
    laid_out = "Q: Which is dry?\nAnswer Choices:\n(a) sea\n(b) desert\nA:"
    as_text = asked(trained, questions=[{"question": laid_out}], max_tokens=4)
    assert trial["answers"][0]["thoughts"] == as_text["answers"][0]["thoughts"]
    assert len(trial["answers"][0]["thoughts"]) > 0


def test_the_lines_of_the_card_write_what_the_service_writes(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api, adapter = trained.api, trained.adapter
    here = tmp_path / "path" / "to" / "this" / "adapter"
    here.mkdir(parents=True)
    for file in got(api, f"/v1/adapters/{adapter}")["files"]:
        (here / file["path"]).write_bytes(api.client.get(file["url"]).content)
    (tmp_path / "path" / "to" / "tiny").symlink_to(MODEL)
    code = (here / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert len(code.splitlines()) <= 20
    prompt = re.search(r'tokenizer\("(.*)"\)', code)
    assert prompt is not None
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - as who has downloaded it would
    written = [line for line in capsys.readouterr().out.splitlines() if " -> " in line]
    trial = asked(trained, questions=[{"question": prompt[1]}], max_tokens=8)
    shown = [f"{one['thought']!r} -> {one['token']!r}" for one in trial["answers"][0]["thoughts"]]
    assert written[: len(shown)] == shown
    assert shown


def test_what_cannot_be_asked_is_refused(trained: Trained) -> None:
    api, adapter = trained.api, trained.adapter
    generate, evaluate = (f"/v1/adapters/{adapter}/{verb}" for verb in ("generate", "evaluate"))
    sent = {"questions": [{"question": ASKED}]}
    texts = api.dataset(
        lines([{"text": f"text {number}"} for number in range(4)]), kind="documents", validation=1
    )["id"]
    refused = api.client.post(evaluate, json={"dataset": texts, "split": "validation"})
    assert (refused.status_code, refused.json()["code"]) == (422, "kinds_differ")
    assert api.client.post(generate, json={**sent, "kind": "code"}).status_code == 422
    long = api.client.post(generate, json={"questions": [{"question": "1 + 1 = 2 " * 2000}]})
    assert (long.status_code, long.json()["code"]) == (422, "prompt_too_long")
    elsewhere = create_app(api.settings.model_copy(update={"sampler": "vllm"}))
    with TestClient(elsewhere, headers=dict(api.client.headers)) as client:
        for path, told in ((generate, sent), (evaluate, {"dataset": texts})):
            refused = client.post(path, json=told)
            assert (refused.status_code, refused.json()["code"]) == (409, "vllm_cannot_think")
            assert "no head beside LoRA" in refused.text
