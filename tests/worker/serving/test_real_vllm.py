"""vLLM's own server answers what the transformers writer answers: the same requests to both, over HTTP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.database import new_id, transaction
from app.settings import Settings
from app.storage import Storage
from app.tables.jobs import Iteration
from app.tables.rationales import Adapter
from star_engine.adapters.layout import CONFIG, WEIGHTS
from star_engine.adapters.roles import AdapterRole
from star_engine.evaluation.candidates import score_distinct
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import Part, SamplingParams, TrainingText
from star_engine.writing import Piece, WriteRequest
from tests.factories import MODEL, World, make_world
from tests.star_engine.gpu.conftest import make_adapter, tiny_model  # noqa: F401 - a fixture
from tests.star_engine.gpu.requests import few_shot_requests
from tests.worker.gpus import wait_until
from tests.worker.serving.test_engine import running
from worker.serving.conversations import Conversations
from worker.serving.engine import Engine
from worker.serving.http import create_app
from worker.serving.meter import Meter
from worker.serving.service import Service
from worker.serving.tools import Tools
from worker.serving.verifiers import Verifiers
from worker.serving.vllm_engine import VllmEngine
from worker.serving.waiting import Target, Ticket

pytestmark = [pytest.mark.xdist_group("vllm"), pytest.mark.timeout(900)]

TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}="
PROMPTS = [request.prompt for request in few_shot_requests(6)]
TOKEN = "token"


@pytest.fixture
def world(sqlite_database_url: str, tmp_path: Path, tiny_model: Path) -> Iterator[World]:  # noqa: F811
    world = make_world(sqlite_database_url, tmp_path / "home", sampler="transformers", threads=1)
    folder = shutil.copytree(tiny_model, tmp_path / "chat")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    world.load_model(folder, 400)
    yield world
    world.engine.dispose()


def add_adapter(world: World, folder: Path, method: str | None = None) -> str:
    """A generator, or with a method of training a verifier; the adapter's id."""
    storage, name = Storage(world.settings.resolved_storage_url()), new_id("adp")
    files = [
        {"path": path, "size_bytes": 1, "sha256": storage.put_file(folder / path)}
        for path in (CONFIG, WEIGHTS)
    ]
    job_id = world.submit()
    with transaction(world.engine) as session:
        session.add(Iteration(job_id=job_id, number=1, phases_done=[], metrics={}))
        session.add(
            Adapter(
                id=name,
                job_id=job_id,
                iteration_number=1,
                role=AdapterRole.GENERATOR if method is None else AdapterRole.VERIFIER,
                files=files,
                training={} if method is None else {"method": method},
                verification={"ok": 1},
            )
        )
    return name


class Client:
    def __init__(self, app: Any) -> None:
        self._client = TestClient(app)

    def ask(self, adapter: str | None, **body: Any) -> dict[str, Any]:
        told: dict[str, Any] = self._post(adapter, body).json()
        return {name: value for name, value in told.items() if name not in ("id", "created")}

    def choose(self, adapter: str, verifier: str, **body: Any) -> list[dict[str, Any]]:
        choices: list[dict[str, Any]] = self._post(adapter, body, verifier).json()["choices"]
        return choices

    def stream(self, adapter: str | None, **body: Any) -> tuple[list[str], str, dict[str, int]]:
        """The pieces, how the text ended, and the usage."""
        asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
        events = [
            json.loads(line[6:])
            for line in self._post(adapter, asked).text.splitlines()
            if line.startswith("data: {")
        ]
        *pieces, last = events
        texts = [one["choices"][0]["text"] for one in pieces]
        return texts, pieces[-1]["choices"][0]["finish_reason"], last["usage"]

    def _post(self, adapter: str | None, body: dict[str, Any], verifier: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}", "X-Star-Model": MODEL, "X-Star-Project": "a"}
        if adapter is not None:
            headers["X-Star-Adapter"] = adapter
        if verifier is not None:
            headers["X-Star-Verifier"] = verifier
        path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
        return self._client.post(path, headers=headers, json={"model": "m", **body})


def assert_alike(found: Any, expected: Any) -> None:
    """Equal, with numbers that two engines compute nearly equal."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_alike(found[name], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-4)
    else:
        assert found == expected


def test_vllm_answers_what_transformers_answers_for_the_base_and_for_two_adapters(
    world: World,
    tmp_path: Path,
    tiny_model: Path,  # noqa: F811
) -> None:
    pytest.importorskip("vllm", reason="the worker runs without vLLM where only transformers is installed")
    adapters = [
        add_adapter(world, make_adapter(tiny_model, tmp_path / f"adapter-{seed}", seed=seed, rank=4))
        for seed in (0, 1)
    ]
    judge = make_adapter(tiny_model, tmp_path / "judge", seed=2, rank=4)
    verifier = add_adapter(world, judge, "dpo")
    ours, theirs = Engine(world.worker_context("serving:1")), VllmEngine(world.worker_context("serving:2"))
    with ExitStack() as stack:
        for engine in (ours, theirs):
            stack.enter_context(running(engine))
        layouts = Conversations(world.worker_context())
        verifiers = Verifiers(world.worker_context(), layouts)
        oracle, vllm = (
            Client(create_app(Service(engine, layouts, verifiers, Meter(), Tools(Settings()), TOKEN)))
            for engine in (ours, theirs)
        )
        texts = []
        for name in (None, *adapters, None):
            body = {"prompt": PROMPTS, "max_tokens": 20, "temperature": 0, "stop": ["12", "a"]}
            expected = oracle.ask(name, **body)
            assert_alike(vllm.ask(name, **body), expected)
            texts.append([choice["text"] for choice in expected["choices"]])
        assert texts[0] == texts[3]
        assert len({tuple(one) for one in texts}) == 3
        check_scores(oracle, vllm, adapters[0])
        check_streams(vllm)
        check_samples(vllm)
        check_conversations(oracle, vllm, adapters[1])
        check_refusals(vllm)
        check_verifier(vllm, adapters[0], verifier, tiny_model, judge)
        check_parts(ours, theirs, adapters[0])


def check_parts(ours: Engine, theirs: VllmEngine, adapter: str) -> None:
    """A text that is told in turns goes on from the tokens of its parts, whoever writes it."""
    written, *_ = told_of(ours, adapter, ())
    first = told_of(ours, adapter, (), written[5])
    assert first[2] == written[5]
    assert told_of(theirs, adapter, (), written[5]) == first
    parts = (Part(first[0] + written[5], first[3]), Part("12\n= ", None, plain=True))
    second = told_of(ours, adapter, parts)
    assert second[4] > first[4]
    assert told_of(theirs, adapter, parts) == second


def told_of(engine: Engine | VllmEngine, adapter: str, parts: tuple[Part, ...], stop: str = "") -> Any:
    """A text, and what its last piece says of it."""
    told: list[Piece] = []
    params = SamplingParams(max_tokens=12, stop=(stop,) if stop else ())
    asked = WriteRequest("parts", PROMPTS[0], params, stream=True, parts=parts, continued=True)
    engine.submit(Ticket(Target(MODEL, adapter), "a", (asked,), told.append))
    wait_until(lambda: bool(told) and told[-1].ends, "it does not end")
    last = told[-1]
    text = "".join(piece.text for piece in told)
    return text, last.finish_reason, last.stopped_by, last.ids, last.prompt_tokens, last.tokens


def check_scores(oracle: Client, vllm: Client, adapter: str) -> None:
    """The prompt's own probabilities, as lm-eval asks for them, and those of what is written."""
    scored = {"prompt": PROMPTS[:2], "max_tokens": 0, "echo": True, "logprobs": 2}
    assert_alike(vllm.ask(adapter, **scored), oracle.ask(adapter, **scored))
    written = {"prompt": PROMPTS[0], "max_tokens": 5, "temperature": 0, "logprobs": 1}
    assert_alike(vllm.ask(None, **written), oracle.ask(None, **written))
    both = written | {"echo": True}
    assert_alike(vllm.ask(None, **both), oracle.ask(None, **both))
    tokens = {"prompt": [5, 6, 7, 8], "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
    assert_alike(vllm.ask(None, **tokens), oracle.ask(None, **tokens))


def check_streams(vllm: Client) -> None:
    body = {"prompt": PROMPTS[1], "max_tokens": 12, "temperature": 0}
    whole = vllm.ask(None, **body)
    pieces, reason, usage = vllm.stream(None, **body)
    assert "".join(pieces) == whole["choices"][0]["text"]
    assert len(pieces) > 5
    assert (reason, usage) == (whole["choices"][0]["finish_reason"], whole["usage"])


def check_samples(vllm: Client) -> None:
    """Several texts of a seed differ, and are the same the next time."""
    body = {"prompt": PROMPTS[2], "max_tokens": 12, "temperature": 1.0, "seed": 7, "n": 3}
    first = vllm.ask(None, **body)
    assert len({choice["text"] for choice in first["choices"]}) > 1
    assert vllm.ask(None, **body) == first
    assert first["usage"]["prompt_tokens"] == len(PROMPTS[2])


def check_verifier(vllm: Client, adapter: str, verifier: str, model: Path, judge: Path) -> None:
    """It chooses by the scores that an evaluation would have recorded."""
    bare = "0 1\n= 2\na ="
    body = {"temperature": 1.0, "seed": 3, "n": 4, "max_tokens": 12, "select": "verifier"}
    (choice,) = vllm.choose(adapter, verifier, prompt=bare, **body)
    told = choice["selection"]
    assert len({*told["scores"]}) > 1
    assert told["score"] == max(told["scores"])
    sampler = TransformersSampler(model, max_length=400)
    sampler.use(judge)
    (found,) = score_distinct(sampler, [(0, TrainingText(bare, choice["text"].rstrip()), True)])
    assert told["score"] == pytest.approx(found[0].total, abs=1e-3)


def check_conversations(oracle: Client, vllm: Client, adapter: str) -> None:
    messages = [{"role": "system", "content": "12"}, {"role": "user", "content": "3 + 4"}]
    body = {"messages": messages, "max_tokens": 8, "temperature": 0, "logprobs": True, "top_logprobs": 2}
    assert_alike(vllm.ask(adapter, **body), oracle.ask(adapter, **body))


def check_refusals(vllm: Client) -> None:
    long = vllm.ask(None, prompt="1" * 401, max_tokens=5)
    assert long["code"] == "invalid"
    assert "400" in long["message"]
    whole = vllm.ask(None, prompt=PROMPTS[3], max_tokens=32768, temperature=0)
    assert whole["usage"]["total_tokens"] <= 400
