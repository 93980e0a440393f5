"""Everybody in a project reads what happened to its jobs; traces are for operators alone."""

from __future__ import annotations

from app.database import transaction
from app.ledger.queue.steps import claim_step, fail_step
from tests.app.api_harness import Api

ERROR = {"code": "internal_error", "category": "platform", "message": "KeyError: 7", "hint": ""}


def test_only_an_operator_sees_the_stack_trace_of_a_failure(api: Api) -> None:
    job = api.job()
    held = claim_step(api.engine, "worker:1", 60)
    assert held is not None
    with transaction(api.engine) as session:
        fail_step(session, held, ERROR, retryable=True, settings=api.settings, trace="File secret.py, line 3")
    path = f"/v1/jobs/{job['id']}/logs"
    [shown] = api.client.get(path).json()["data"]
    assert (shown["level"], shown["trace"]) == ("warning", "File secret.py, line 3")
    assert "KeyError: 7" in shown["text"]
    for key in (api.reader, api.admin):
        [line] = api.client.get(path, headers=key).json()["data"]
        assert line == {**shown, "trace": None}
    assert api.client.get(path, headers=api.other).status_code == 404
    assert api.client.get(path, params={"level": "error"}).json()["data"] == []
    assert api.client.get(path, params={"after": shown["id"]}).json()["data"] == []
    assert api.client.get(path, params={"after": "first"}).status_code == 400
