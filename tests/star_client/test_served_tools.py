"""An adapter that calls its tool while somebody reads along: API, serving process, real sandbox, fake GPU."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from app.database import transaction
from app.ledger.queue.capacity import note_sandbox, saw_worker
from star_client.errors import Refused
from star_engine.tasks.programs.execution import using_runner
from tests.app.api_harness import MODEL
from tests.star_client.conftest import Run
from tests.star_client.recorded_platform import Platform, platform, wait_until
from tests.star_client.test_openai_completions import server_of_models, servers
from worker.sandbox.local import LocalRunner

SCRIPT = "tests.star_client.tool_script:pupil"
WHICH = "RUN import sys; print(sys.implementation.name)"
ENDLESS = "RUN while True: pass"
CONFIG: dict[str, Any] = {
    "iterations": 1,
    "rationalization": {"enabled": False},
    "hints": {"groups": ["calculation"]},
    "generation": {"max_tokens": 200},
    "audits": {"spark_level": None},
}


@dataclass(frozen=True)
class Trained:
    """A platform with an adapter whose job has no tool, and one for each runtime of it."""

    server: Platform
    folder: Path
    without: str
    embedded: str
    cpython: str

    def post(self, body: dict[str, Any]) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.server.key}"}
        return httpx2.post(f"{self.server.url}/v1/chat/completions", json=body, headers=headers, timeout=60)

    def ask(self, model: str, question: str, **more: Any) -> httpx2.Response:
        messages = [{"role": "user", "content": question}]
        return self.post({"model": model, "messages": messages, "temperature": 0, "with_tools": True, **more})


def adapter_of(server: Platform, folder: Path, tool: dict[str, Any] | None) -> str:
    """The alias of what a job with this tool has trained."""
    by = 23 if tool is not None else 10  # which the model computes by hand
    rows = [{"question": f"What is {a} times {by}?", "answer": str(a * by)} for a in range(17, 26)]
    file = folder / "products.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = {"question": "What is 3 times 4?", "answer": "12", "rationale": "It is 12.\n#### 12"}
    config = CONFIG | {"tools": {"python": tool}} if tool is not None else {**CONFIG, "hints": None}
    with server.client() as star:
        dataset = star.datasets.upload(file, kind="numeric", validation=3)
        prompt_set = star.prompt_sets.create(name="shown", kind="numeric", examples=[shown])
        job = star.jobs.create(model=MODEL, dataset=dataset.id, prompt_set=prompt_set.id, config=config)
        server.work()
        found = star.jobs.get(job.id)
    assert found.status == "succeeded", found.status_reason
    return f"{job.id}:last"


@pytest.fixture(scope="module")
def trained(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("tools")
    home = folder / "home"
    home.mkdir()
    url = f"sqlite:///{shutil.copy(sqlite_template, folder / 'star.db')}"
    with platform(url, home, script=SCRIPT) as running, closing(LocalRunner(1)) as runner:
        with transaction(running.engine) as session:
            saw_worker(session, "worker:1")
            note_sandbox(session, "worker:1", None)
        with using_runner(runner):
            limits = {"max_calls": 2, "timeout_s": 1.0}
            tools = (None, limits, {**limits, "runtime": "cpython"})
            yield Trained(running, folder, *(adapter_of(running, folder, tool) for tool in tools))


@pytest.fixture(scope="module")
def served(trained: Trained) -> Iterator[Trained]:
    with server_of_models(trained.server, SCRIPT, STAR_SERVING_QUEUE="4", STAR_SANDBOX_SIZE="1"):
        wait_until(
            lambda: bool(servers(trained.server)) and servers(trained.server)[0].sandbox == "ok",
            "its sandbox is not proven",
        )
        yield trained


@pytest.fixture
def client(served: Trained) -> Iterator[openai.OpenAI]:
    url = f"{served.server.url}/v1"
    with openai.OpenAI(base_url=url, api_key=served.server.key, max_retries=0) as client:
        yield client


def told(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


def test_cpython_is_refused_with_the_reason_where_no_server_has_a_sandbox(trained: Trained) -> None:
    """The first test of this module: the server of the others has one."""
    with server_of_models(trained.server, SCRIPT, STAR_SANDBOX="off"):
        wait_until(lambda: servers(trained.server)[0].sandbox is not None, "it does not say so")
        found = trained.ask(trained.cpython, WHICH)
        assert (found.status_code, found.json()["code"]) == (409, "no_sandbox")
        assert "STAR_SANDBOX=off" in found.json()["detail"]
        assert told(trained.ask(trained.embedded, "What is 17 times 23?"))["tools"]["calls"] == 1


@pytest.mark.parametrize("runtime", ["embedded", "cpython"])
def test_an_adapter_computes_with_its_tool_and_goes_on_from_the_output(served: Trained, runtime: str) -> None:
    choice = told(served.ask(getattr(served, runtime), "What is 17 times 23?"))
    before, output, after = choice["tools"].pop("parts")
    assert choice["tools"] == {"calls": 1, "failed": 0, "limit": False}
    assert before == {"origin": "model", "text": " Let me compute.\n```python\nprint(17 * 23)\n```\n"}
    assert output == {"origin": "output", "text": "```output\n391\n```\n"}
    assert after == {"origin": "model", "text": "So it is 391.\n#### 391"}
    assert (
        choice["message"]["content"].strip()
        == "".join(one["text"] for one in (before, output, after)).strip()
    )
    assert choice["finish_reason"] == "stop"


def test_the_tool_is_that_of_the_job(served: Trained) -> None:
    by_runtime = {}
    for runtime in ("embedded", "cpython"):
        choice = told(served.ask(getattr(served, runtime), WHICH))
        by_runtime[runtime] = choice["tools"]["parts"][1]["text"]
    assert by_runtime["cpython"] == "```output\ncpython\n```\n"
    assert "cpython" not in by_runtime["embedded"]


def test_without_it_an_adapter_writes_its_call_and_nothing_runs(served: Trained) -> None:
    choice = told(served.ask(served.embedded, "What is 17 times 23?", with_tools=False))
    assert choice["message"]["content"].rstrip().endswith("```")
    assert "tools" not in choice


def test_openai_client_reads_what_the_tool_says_in_pieces_of_their_own(
    client: openai.OpenAI, served: Trained
) -> None:
    stream = client.completions.create(
        model=served.cpython,
        prompt="Q: What is 19 times 23?\nA:",
        max_tokens=200,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"with_tools": True},
    )
    *pieces, usage = list(stream)
    choices = [piece.choices[0] for piece in pieces]
    origins: list[str] = [(one.model_extra or {})["origin"] for one in choices]
    by_origin = {"model": "", "output": ""}
    for one, origin in zip(choices, origins, strict=True):
        by_origin[origin] += one.text
    assert by_origin["output"] == "```output\n437\n```\n"
    assert by_origin["model"].endswith("```\nSo it is 437.\n#### 437")
    assert origins.index("output") > 3  # the model's own words had come before the code ran
    assert (choices[-1].model_extra or {})["tools"] == {"calls": 1, "failed": 0, "limit": False}
    assert choices[-1].finish_reason == "stop"
    assert usage.usage is not None
    assert usage.usage.completion_tokens > 10


def test_a_text_has_as_many_calls_as_its_job_gave_it(served: Trained) -> None:
    choice = told(served.ask(served.embedded, "AGAIN print(1)"))
    assert (choice["tools"]["calls"], choice["tools"]["limit"], choice["finish_reason"]) == (
        2,
        True,
        "length",
    )
    assert [one["origin"] for one in choice["tools"]["parts"]] == [
        "model",
        "output",
        "model",
        "output",
        "model",
    ]


@pytest.mark.parametrize("runtime", ["embedded", "cpython"])
def test_a_program_without_end_is_ended_and_the_text_goes_on(served: Trained, runtime: str) -> None:
    choice = told(served.ask(getattr(served, runtime), ENDLESS))
    assert choice["tools"]["failed"] == 1
    assert choice["tools"]["parts"][1]["text"] == "```output\nError: timeout\n```\n"
    assert choice["message"]["content"].endswith("#### 1")


def test_several_texts_each_have_their_own_calls(served: Trained) -> None:
    answer = served.ask(served.embedded, "What is 21 times 23?", n=2)
    assert [one["tools"]["calls"] for one in answer.json()["choices"]] == [1, 1]
    assert answer.json()["usage"]["prompt_tokens"] > 0


def test_a_project_has_its_share_and_gets_it_back_from_a_client_that_has_gone(served: Trained) -> None:
    """Two texts of a project at once, of the four that the server takes."""
    body = {"model": served.cpython, "messages": [{"role": "user", "content": "AGAIN while True: pass"}]}
    headers = {"Authorization": f"Bearer {served.server.key}"}
    url, asked = (
        f"{served.server.url}/v1/chat/completions",
        {**body, "n": 2, "stream": True, "with_tools": True},
    )
    with httpx2.stream("POST", url, json=asked, headers=headers, timeout=60) as held:
        lines = held.iter_lines()  # whose end would close the connection
        assert next(lines)
        refused = served.ask(served.cpython, WHICH)
        assert refused.status_code == 429, refused.text
        assert refused.json()["code"] == "serving_queue_full"
    wait_until(lambda: served.ask(served.cpython, WHICH).status_code == 200, "its places are not given back")


def test_calls_are_counted_for_the_project(served: Trained) -> None:
    with served.server.client() as star:
        today = datetime.now(UTC).date()

        def counted() -> int:
            return sum(one.executions for one in star.usage.texts(since=today))

        before = counted()
        told(served.ask(served.embedded, "What is 23 times 23?", n=2))
        wait_until(lambda: counted() >= before + 2, "they are not counted")
        told(served.ask(served.cpython, ENDLESS))

        def spent() -> float:
            return sum(one.sandbox_seconds for one in star.usage.texts(since=today))

        wait_until(lambda: spent() >= 1.0, "their CPU seconds are not counted")


@pytest.mark.parametrize(
    ("which", "more", "field"),
    [
        ("base", {}, "with_tools"),
        ("without", {}, "with_tools"),
        ("embedded", {"n": 2, "select": "majority"}, "select"),
        ("embedded", {"logprobs": True}, "logprobs"),
    ],
)
def test_what_cannot_be_asked_with_a_tool_is_refused(
    served: Trained, which: str, more: dict[str, Any], field: str
) -> None:
    model = MODEL if which == "base" else getattr(served, which)
    refused = served.ask(model, "What is 17 times 23?", **more)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


def test_command_and_sdk_show_calls(served: Trained, run: Run) -> None:
    result = run(
        served.server, "adapters", "ask", served.embedded, "What is 17 times 23?", "--tools", "--json"
    )
    (found,) = result.objects
    assert found["tools"]["calls"] == 1
    assert [one["origin"] for one in found["tools"]["parts"]] == ["model", "output", "model"]
    with served.server.client() as star, pytest.raises(Refused, match="no tool"):
        star.adapters.ask_with_tools(served.without, "What is 17 times 23?")
