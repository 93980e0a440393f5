"""What the API does with programs: it has solutions executed by the service, and executes nothing itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.database import transaction
from app.tables.jobs import Job
from app.tables.rationales import Rationale
from star_engine.tasks.programs.execution import use_runner
from tests.app.api_harness import MODEL, Api, serve
from tests.app.jobs.test_report import PHASES, Written
from tests.worker.sandbox import test_attacks
from worker.sandbox.local import LocalRunner

GOOD = {
    "question": "Double it.",
    "tests": ["assert f(2) == 4", "assert f(3) == 6"],
    "solution": "def f(x):\n    return 2 * x",
}
CODE = "```python\ndef f(x):\n    return x + x\n```"


@pytest.fixture
def api(sqlite_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with closing(LocalRunner(2)) as behind, test_attacks.serve(behind) as url:
        with serve(sqlite_database_url, tmp_path / "home", sandbox_url=url) as running:
            yield running
        use_runner(None)


def upload(api: Api, *rows: dict[str, Any]) -> Any:
    lines = "\n".join(json.dumps({**row, "question": f"{row['question']} {n}"}) for n, row in enumerate(rows))
    return api.client.post("/v1/datasets", params={"kind": "code"}, content=lines)


def test_solutions_of_an_upload_are_run_and_bad_rows_refused_with_their_fix(api: Api) -> None:
    fails = {**GOOD, "solution": "def f(x):\n    return x"}
    varies = {**GOOD, "solution": "import random\ndef f(x):\n    return random.random()"}
    assert upload(api, GOOD, GOOD).status_code == 201
    refused = upload(api, GOOD, fails, varies)
    assert refused.status_code == 422
    errors = [(one["line"], one["field"], one["fix"]) for one in refused.json()["errors"]]
    assert errors == [
        (2, "answer", "Correct the solution or the tests."),
        (3, "answer", "Remove what is random."),
    ]


def test_a_prompt_set_and_a_judgement_are_executed_too(api: Api) -> None:
    shown = [{"question": "Double it.", "rationale": CODE, "tests": GOOD["tests"]}]
    made = api.client.post("/v1/prompt-sets", json={"name": "few", "kind": "code", "examples": shown})
    assert made.status_code == 201, made.text
    row = {"kind": "code", "completion": CODE, "answer": "assert f(2) == 4", "question": "Double it."}
    wrong = {**row, "completion": CODE.replace("x + x", "x")}
    told = api.client.post("/v1/verifiers/run", json={"rows": [row, wrong]}).json()["data"]
    assert [one["verdict"] for one in told] == ["correct", "wrong"]


def test_without_a_service_a_solution_is_refused(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home") as api:
        refused = upload(api, GOOD)
    assert refused.status_code == 422
    assert "no program is executed here" in refused.json()["errors"][0]["reason"]


def test_a_regrade_runs_the_tests_again_and_is_refused_where_nothing_can_run_them(api: Api) -> None:
    rows = "".join(json.dumps({"question": f"Double, {n}.", "tests": GOOD["tests"]}) + "\n" for n in range(4))
    shown = [{"question": "Double it.", "rationale": CODE, "tests": GOOD["tests"]}]
    body = {
        "model": MODEL,
        "dataset": api.dataset(rows, kind="code", validation=1)["id"],
        "prompt_set": api.prompt_set(kind="code", examples=shown)["id"],
        "config": {"iterations": 1, "training_set": {"filters": []}},
    }
    made = api.client.post("/v1/jobs", json=body)
    assert made.status_code == 201, made.text
    place = f"/v1/jobs/{made.json()['id']}"
    texts = (CODE, CODE.replace("x + x", "x"), CODE)
    with transaction(api.engine) as session:
        written = Written(session, session.get_one(Job, made.json()["id"]))
        written.sample(written.iteration(1, PHASES, {"kept": {}}), "generated", ["wrong", "correct", "wrong"])
        tries = session.scalars(select(Rationale).order_by(Rationale.id)).all()
        for one, text in zip(tries, texts, strict=True):
            one.text, one.decision, one.reason = text, "dropped", "wrong"
    found = api.client.post(f"{place}/regrade", json={})
    assert found.status_code == 200, found.text
    flips = {(one["before"], one["after"]): one["count"] for one in found.json()["iterations"][0]["verdicts"]}
    assert flips == {("wrong", "correct"): 2, ("correct", "wrong"): 1}
    use_runner(None)
    refused = api.client.post(f"{place}/regrade", json={})
    assert (refused.status_code, refused.json()["code"]) == (503, "sandbox_failed")
    assert "STAR_SANDBOX_URL" in refused.json()["detail"]
