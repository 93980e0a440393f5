"""A judgement is tried out over HTTP: what the engine says of a row, and no more than a server can bear."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from app.data import verifiers
from star_engine.training_set.judgement import judge_row
from tests.app.api_harness import Api

SOLVED: dict[str, Any] = {
    "kind": "numeric",
    "completion": "  6 bags with 7 rolls are 6 * 7 = 42.\n#### 42\nAnd now another.",
    "answer": "42",
    "question": "6 bags hold 7 rolls each. How many rolls are there?",
}


def run(api: Api, *rows: Any, **headers: Any) -> Any:
    return api.client.post("/v1/verifiers/run", json={"rows": rows}, **headers)


def test_each_row_is_answered_as_the_engine_judges_it(api: Api) -> None:
    rows = [SOLVED, {**SOLVED, "answer": "7"}, {**SOLVED, "kind": "numbers"}]
    answer = run(api, *rows)
    assert answer.status_code == 200
    told = answer.json()
    assert told["object"] == "verifiers.run"
    engine = [json.loads(json.dumps(judge_row(row, n).to_json())) for n, row in enumerate(rows, start=1)]
    assert told["data"] == engine
    assert [one["verdict"] for one in engine] == ["correct", "wrong", None]


def test_a_key_that_may_only_read_may_try_a_judgement(api: Api) -> None:
    assert run(api, SOLVED, headers=api.reader).status_code == 200
    assert run(api, SOLVED, headers={"Authorization": "Bearer nobody"}).status_code == 401


def test_no_job_is_made(api: Api) -> None:
    run(api, SOLVED)
    with api.engine.connect() as connection:
        assert connection.execute(text("select count(*) from jobs")).scalar_one() == 0


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [SOLVED] * (verifiers.MAX_ROWS + 1),
        ["42"],
    ],
)
def test_more_than_a_request_may_hold_is_refused_with_the_field(api: Api, rows: list[Any]) -> None:
    answer = run(api, *rows)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("rows")


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(api: Api) -> None:
    assert run(api, *[{**SOLVED, "completion": "x" * 200_000}] * 6).status_code == 413


def test_rows_that_time_did_not_suffice_for_say_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifiers, "SECONDS", 0.01)  # less than an interpreter takes to start
    told = run(api, SOLVED, SOLVED).json()["data"]
    assert [(one["row"], one["errors"][0]["field"]) for one in told] == [(1, "row"), (2, "row")]
    assert "were over" in told[0]["errors"][0]["reason"]


def test_a_server_that_judges_for_others_says_when_to_come_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifiers, "SECONDS_TO_WAIT", 0.01)
    for _ in range(verifiers.AT_ONCE):
        assert verifiers._places.acquire(blocking=False)
    try:
        assert run(api, SOLVED).status_code == 503
    finally:
        verifiers._places.release(verifiers.AT_ONCE)
    assert run(api, SOLVED).status_code == 200
