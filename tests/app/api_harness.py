"""The real application on a database of its own, with four keys, a small model and something to upload."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save
from sqlalchemy import Engine
from starlette.testclient import TestClient
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from app.database import make_engine, transaction
from app.ledger.platform.keys import Scope, create_key, create_project
from app.ledger.queue.steps import claim_step
from app.main import create_app
from app.settings import Settings
from app.storage import Storage
from tests.factories import problem, spaced, total
from worker.context import WorkerContext
from worker.shared_calls import work_on

MODEL = "tiny"
# What scripted trainers' adapters change: one matrix of ones.
WEIGHTS = save({"model.layers.0.self_attn.q_proj.weight": np.ones((4, 4), np.float32)})
CONTEXT = 1000  # tokens of the small model; its tokens are characters


@dataclass(frozen=True)
class Api:
    """A client that sends the owner's key, and the headers of the others."""

    client: TestClient
    engine: Engine
    settings: Settings
    other: dict[str, str]  # another project's key, scope admin
    reader: dict[str, str]  # the owner's project, scope read
    admin: dict[str, str]  # the owner's project, scope admin; the client's own key is an operator's
    work_off: Callable[[], None] = lambda: None  # does what is queued, where a worker was asked for

    def dataset(self, rows: str | None = None, **query: Any) -> dict[str, Any]:
        params = {"kind": "scratchpad", "validation": 4, **query}
        answer = self.client.post("/v1/datasets", params=params, content=rows or addition_rows())
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    def prompt_set(self, **changes: Any) -> dict[str, Any]:
        body = {"name": "few-shot", "kind": "scratchpad", "examples": few_shot(), **changes}
        answer = self.client.post("/v1/prompt-sets", json=body)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    def job_body(self, **changes: Any) -> dict[str, Any]:
        ids = {"dataset": self.dataset()["id"], "prompt_set": self.prompt_set()["id"]}
        config = {"iterations": 2, "generation": {"max_tokens": 100}}
        return {"model": MODEL, **ids, "config": config, **changes}

    def job(self, **changes: Any) -> dict[str, Any]:
        answer = self.client.post("/v1/jobs", json=self.job_body(**changes))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


@contextmanager
def serve(database_url: str, home: Path, **changes: Any) -> Iterator[Api]:
    home.mkdir(exist_ok=True)
    models_file = home / "models.yaml"
    make_model(home / "model")
    models_file.write_text(yaml.safe_dump([{"id": MODEL, "location": "model", "license": "apache-2.0"}]))
    given = {
        "database_url": database_url,
        "models_file": models_file,
        "webhook_secret": "of the tests",
        "wrong_key_limit": "100000/minute",  # all tests come from one address
    }
    settings = Settings(home=home, **{**given, **changes})
    engine = make_engine(database_url)
    with transaction(engine) as session:
        owner = create_project(session, "owner")
        operator = create_key(session, owner, "operator", Scope)
        admin = create_key(session, owner, "admin", [Scope.ADMIN])
        reader = create_key(session, owner, "reader", [Scope.READ])
        other = create_key(session, create_project(session, "other"), "other", [Scope.ADMIN])
    with TestClient(create_app(settings), headers=bearer(operator), raise_server_exceptions=False) as client:
        yield Api(client, engine, settings, bearer(other), bearer(reader), bearer(admin))
    engine.dispose()


@contextmanager
def worker(api: Api) -> Iterator[Callable[[], None]]:
    """A worker that keeps its GPU process warm; what it yields does every step that is queued."""
    bench = WorkerContext(
        engine=api.engine,
        storage=Storage(api.settings.resolved_storage_url()),
        settings=api.settings,
        worker_id="worker:1",
        draining=lambda: False,
    )

    def work_off() -> None:
        while (claim := claim_step(api.engine, bench.worker_id, 60, bench.warm_model)) is not None:
            work_on(bench, claim)

    try:
        yield work_off
    finally:
        bench.drop_gpu()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def make_model(folder: Path) -> None:
    """A model's folder as far as the API reads it: one token per character, a context of CONTEXT."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["<unk>", *map(chr, range(32, 127)), "\n"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": CONTEXT}))
    (folder / "model.safetensors").write_bytes(WEIGHTS)


def addition_rows(count: int = 12) -> str:
    """JSONL of addition problems of 1 and 2 digits."""
    rows = []
    for number in range(count):
        a, b = problem(number, 1 + number % 2)
        rows.append({"question": f"{spaced(a)} + {spaced(b)}", "answer": total(a, b), "group": str(len(a))})
    return "".join(json.dumps(row) + "\n" for row in rows)


def few_shot() -> list[dict[str, Any]]:
    """One worked example of 1 and one of 2 digits."""
    return [
        {
            "question": "2 + 5",
            "rationale": "<scratch>\n2 + 5 , C: 0\n, 7 C: 0\n0 7\n</scratch>\n7",
            "answer": "7",
            "group": "1",
        },
        {
            "question": "6 2 + 2 5",
            "rationale": "<scratch>\n6 2 + 2 5 , C: 0\n6 + 2 , 7 C: 0\n, 8 7 C: 0\n0 8 7\n</scratch>\n8 7",
            "answer": "8 7",
            "group": "2",
        },
    ]
