"""Kind `remote`: a grader over HTTPS, asked with a signature, never at a private address, never a guess."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app import grader as grader_module
from app.grader import Grader
from app.webhooks.secrets import grader_secret
from star_engine.config.star import StarConfig
from star_engine.sampling.answers import read_answer
from star_engine.tasks.examples import Example
from star_engine.tasks.programs.execution import (
    Execution,
    GraderFailed,
    Program,
    SandboxFailed,
    Status,
    using_runner,
)
from star_engine.tasks.verdict import Verdict
from star_engine.tasks.verify import verify
from tests.app.api_harness import Api
from tests.certificates import certificate
from tests.graders import RunningGrader, grader
from worker.failures import describe
from worker.sandbox.local import LocalRunner

SECRET = grader_secret(b"of the tests", "proj_1")
TEXT = "By definition.\n#### rfl"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grader_module, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def running() -> Iterator[RunningGrader]:
    with grader() as running:
        running.secret = SECRET
        yield running


def asks(running: RunningGrader, **changes: Any) -> Grader:
    return Grader(**{"secret": SECRET, "allowed_hosts": (running.host,), **changes})


def judged(running: RunningGrader, runner: Grader, answer: str = "rfl") -> Verdict:
    """As a job judges."""
    config = StarConfig.model_validate({"kind": "remote", "verifier": {"grader_url": running.url}})
    with using_runner(runner):
        return read_answer(config, Example("e", "", answer), TEXT)


@pytest.mark.parametrize(("answer", "verdict"), [("rfl", "correct"), ("sorry", "wrong")])
def test_a_grader_judges_what_it_is_sent_with_a_valid_signature(
    running: RunningGrader, answer: str, verdict: str
) -> None:
    assert str(judged(running, asks(running), answer=answer).verdict) == verdict
    assert running.asked == [{"example": {"question": "", "answer": answer, "text": TEXT}, "answer": "rfl"}]


def test_a_grader_that_knows_another_secret_is_no_verdict_on_the_text(running: RunningGrader) -> None:
    found = judged(running, asks(running, secret=grader_secret(b"of the tests", "proj_2")))
    assert (str(found.verdict), running.asked) == ("error", [])


@pytest.mark.parametrize(
    ("said", "verdict", "rule"),
    [
        ((200, b'{"value": 0.5}'), "correct", "remote"),
        ((200, b'{"value": 0}'), "wrong", "remote"),
        ((422, b""), "error", "remote_error"),
        ((404, b""), "error", "raised_BadGrader"),
        ((302, b""), "error", "raised_BadGrader"),
        ((200, b'{"value": "yes"}'), "error", "raised_BadGrader"),
        ((200, b"<html>"), "error", "raised_BadGrader"),
        ((200, b'{"value": NaN}'), "error", "remote_gave_no_number"),
    ],
)
def test_what_a_grader_says_is_a_verdict_only_where_it_is_one(
    running: RunningGrader, said: tuple[int, bytes], verdict: str, rule: str
) -> None:
    running.judge = lambda _: said
    found = judged(running, asks(running))
    assert (str(found.verdict), found.rule) == (verdict, rule)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_grader_that_is_down_for_a_moment_is_asked_again_with_the_same_id(
    running: RunningGrader, status: int
) -> None:
    answers = [(status, b""), (status, b""), (200, b'{"value": true}')]
    running.judge = lambda _: answers.pop(0)
    assert judged(running, asks(running)).is_correct
    assert len(running.ids) == 3
    assert len(set(running.ids)) == 1


def test_a_grader_that_stays_down_is_waited_for_and_is_no_verdict(running: RunningGrader) -> None:
    running.judge = lambda _: (500, b"")
    with pytest.raises(GraderFailed, match="answered with 500") as failed:
        judged(running, asks(running))
    failure = describe(failed.value)
    assert (failure.error["code"], failure.passes, failure.gpu_is_lost) == ("grader_failed", True, False)


def test_a_grader_that_is_not_there_or_at_a_private_address_gives_no_verdict(running: RunningGrader) -> None:
    with pytest.raises(GraderFailed, match="https"):
        judged(running, Grader(SECRET))
    with (
        using_runner(Grader(SECRET, ask=lambda *_: ["10.0.0.1"])),
        pytest.raises(GraderFailed, match="public"),
    ):
        verify("remote", TEXT, "rfl", grader_url="https://example.com/grade")
    nobody = asks(running, allowed_hosts=("127.0.0.1:9",))
    with using_runner(nobody), pytest.raises(GraderFailed, match="could not be reached"):
        verify("remote", TEXT, "rfl", grader_url="http://127.0.0.1:9/")
    assert running.asked == []


def test_over_https_the_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = certificate(tmp_path, "localhost")
    with grader(file, "localhost") as running:
        running.secret = SECRET
        with pytest.raises(GraderFailed, match="SSLCertVerificationError"):
            judged(running, asks(running))
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert judged(running, asks(running)).is_correct


def test_a_sandbox_asks_no_grader_and_a_grader_runs_no_code() -> None:
    asked = Program("", call=("grade", ({}, "rfl")), url="https://example.com/")
    with closing(LocalRunner(1)) as runner:
        [found] = runner.run([asked])
    assert found.status is Status.REFUSED
    with pytest.raises(SandboxFailed):
        list(Grader(SECRET).run([Program("print(1)")]))


def test_the_digest_of_a_program_without_a_grader_is_what_it_was() -> None:
    assert "url" not in Program("x").as_json()
    assert Execution(Status.OK).as_json()["status"] == "ok"


def test_a_judgement_by_a_grader_is_tried_out_over_http(api: Api, running: RunningGrader) -> None:
    running.secret = api.client.post("/v1/verifiers/secret").json()["secret"]
    api.settings.webhook_allowed_hosts.append(running.host)
    options = {"grader_url": running.url}
    row = {"kind": "remote", "completion": TEXT, "answer": "rfl", "options": options}
    other = {**row, "answer": "sorry"}
    told = api.client.post("/v1/verifiers/run", json={"rows": [row, other]}).json()["data"]
    assert [one["verdict"] for one in told] == ["correct", "wrong"]
    assert len(running.asked) == 2


def test_a_job_with_a_grader_in_a_private_network_is_refused_at_once(api: Api) -> None:
    rows = "\n".join(f'{{"question": "Prove {n}.", "answer": "{n}"}}' for n in range(20))
    dataset = api.dataset(rows, kind="remote")["id"]
    shown = [{"question": "Prove 1.", "answer": "1", "rationale": "So. #### rfl"}]
    prompt_set = api.prompt_set(kind="remote", examples=shown)["id"]
    body = {"model": "tiny", "dataset": dataset, "prompt_set": prompt_set}
    for url, status in (("https://10.0.0.1/", 422), ("https://grader.example.com/", 201)):
        config = {"iterations": 1, "verifier": {"grader_url": url}, "generation": {"max_tokens": 100}}
        answer = api.client.post("/v1/jobs", json={**body, "config": config})
        assert answer.status_code == status, answer.text
        if status == 422:
            assert answer.json()["errors"][0]["field"] == "config.verifier.grader_url"
    without = api.client.post("/v1/jobs", json={**body, "config": {"iterations": 1}})
    assert without.json()["errors"][0]["field"] == "config.verifier.grader_url"


def test_a_grader_that_gives_no_answer_is_said_where_it_is_tried_out(api: Api) -> None:
    row = {"kind": "remote", "completion": TEXT, "answer": "rfl"}
    options = {"grader_url": "https://10.0.0.1/grade"}
    refused = api.client.post("/v1/verifiers/run", json={"rows": [{**row, "options": options}]})
    assert (refused.status_code, refused.json()["code"]) == (422, "grader_failed")
    assert "Nothing was judged." in refused.json()["detail"]


def test_a_program_that_nothing_executes_is_said_where_it_is_tried_out(api: Api) -> None:
    options = {"program": "def grade(example, answer): return True"}
    row = {"kind": "program", "completion": TEXT, "answer": "rfl", "options": options}
    refused = api.client.post("/v1/verifiers/run", json={"rows": [row]})
    assert (refused.status_code, refused.json()["code"]) == (503, "sandbox_failed")
