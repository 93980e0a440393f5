"""An Idempotency-Key makes one object of requests that are sent again."""

from __future__ import annotations

from tests.app.api_harness import MODEL, Api, addition_rows


def test_one_idempotency_key_makes_one_fine_tuning_job(api: Api) -> None:
    sent = {"file": ("rows.jsonl", addition_rows())}
    file = api.client.post("/v1/files", files=sent, data={"purpose": "fine-tune"}).json()
    body = {
        "model": MODEL,
        "training_file": file["id"],
        "prompt_set": api.prompt_set()["id"],
        "validation": 4,
    }
    key = {"Idempotency-Key": "once"}
    answers = [api.client.post("/v1/fine_tuning/jobs", json=body, headers=key) for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 200], answers[0].text
    assert answers[0].json()["id"] == answers[1].json()["id"]
    other = api.client.post("/v1/fine_tuning/jobs", json={**body, "validation": 5}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
