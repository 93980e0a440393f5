"""Workers, queue, quota, usage, keys and the audit log, as far as the key may see them."""

from __future__ import annotations

import re
from html import unescape

from app.database import transaction
from app.ledger.queue.capacity import Capacity, note_measured, saw_worker
from app.ledger.queue.quarantine import note_sick
from tests.app.api_harness import MODEL
from tests.app.dashboard.conftest import Visitor, sign_in


def test_workers_and_this_projects_queue_are_shown(visitor: Visitor) -> None:
    assert "No worker is there" in visitor.get("/platform").text
    with transaction(visitor.api.engine) as session:
        saw_worker(session, "host:1", Capacity(gpus=2, gpu_memory_gib=80, gpu_class="h100"))
        saw_worker(session, "host:2")  # which has told nothing of its GPUs yet
        gpu = {"utilization": 0.93, "memory_gib": 79.6, "memory_used_gib": 2.5, "temperature_c": 61}
        note_measured(session, "host:1", {"gpus": [gpu], "tokens_per_second": 1234.0})
    job = visitor.api.job(name="<b>mine</b>")
    shown = visitor.get("/platform").text
    assert "host:1" in shown
    assert "80 GiB" in shown
    assert "93 %, 2.50 of 80 GiB" in shown
    assert "<b>mine" not in shown
    assert job["id"] in shown
    assert job["id"] not in sign_in(visitor.api, visitor.api.other).get("/platform").text


def test_a_key_is_shown_once_and_can_be_revoked(visitor: Visitor) -> None:
    made = visitor.post("/platform/keys", name="of a notebook", scope="read", days="7")
    assert made.status_code == 201
    secret = re.search(r"star_\w{8}_\w{43}_\w{6}", made.text)
    assert secret is not None
    bearer = {"Authorization": f"Bearer {secret[0]}"}
    ask = visitor.api.client.get
    assert ask("/v1/jobs", headers=bearer).status_code == 200
    assert secret[0] not in visitor.get("/platform/keys").text
    row = next(key for key in ask("/v1/api-keys").json()["data"] if key["name"] == "of a notebook")
    assert (row["scopes"], row["expires_at"] is None) == (["read"], False)
    assert visitor.post(f"/platform/keys/{row['id']}/revoke").status_code == 303
    assert ask("/v1/jobs", headers=bearer).status_code == 401


def test_what_the_dashboard_changes_is_in_the_audit_log(visitor: Visitor) -> None:
    visitor.post("/platform/keys", name="audited")
    shown = unescape(visitor.get("/platform/audit").text)
    assert "POST /dashboard/platform/keys" in shown
    assert "created api keys" in shown


def test_keys_and_audit_log_are_for_admins(visitor: Visitor) -> None:
    reader = sign_in(visitor.api, visitor.api.reader)
    assert "/platform/keys" not in reader.get("/platform").text
    for path in ("/platform/keys", "/platform/audit"):
        answer = reader.get(path)
        assert answer.status_code == 403
        assert "lacks the scope" in answer.text
    assert reader.post("/platform/keys", name="more").status_code == 403


def test_a_webhook_is_made_tested_sent_again_and_deleted(visitor: Visitor) -> None:
    hook = {"address": "https://93.184.215.14/hook", "description": "<i>mine</i>"}
    made = visitor.post("/platform/webhooks", **hook)
    assert made.status_code == 201
    secret = re.search(r"whsec_[\w+/=]+", made.text)
    assert secret is not None
    ask = visitor.api.client.get
    webhook = ask("/v1/webhooks").json()["data"][0]
    assert (webhook["url"], webhook["events"]) == (hook["address"], ["*"])
    listed = visitor.get("/platform/webhooks").text
    assert webhook["id"] in listed
    assert "<i>mine" not in listed
    page = f"/platform/webhooks/{webhook['id']}"
    assert secret[0] not in visitor.get(page).text
    assert visitor.post(f"{page}/test").status_code == 303
    sent = ask(f"/v1/webhooks/{webhook['id']}/deliveries").json()["data"]
    assert [one["event_type"] for one in sent] == ["webhook.test"]
    assert "webhook.test" in visitor.get(page).text
    assert "webhook.test" not in visitor.get(page, outcome="failed").text
    assert visitor.post(f"{page}/deliveries/{sent[0]['id']}/redeliver").status_code == 303
    new = re.search(r"whsec_[\w+/=]+", visitor.post(f"{page}/rotate").text)
    assert new is not None
    assert new[0] != secret[0]
    visitor.post(f"{page}/disable")
    assert "disabled" in visitor.get(page).text
    assert visitor.post(f"{page}/delete").status_code == 303
    assert ask("/v1/webhooks").json()["data"] == []


def test_a_webhook_that_cannot_be_made_is_refused_with_the_reason(visitor: Visitor) -> None:
    refused = visitor.post("/platform/webhooks", address="http://127.0.0.1/hook")
    assert refused.status_code == 422
    assert "https" in refused.text
    unknown = visitor.post("/platform/webhooks", address="https://93.184.215.14/", events="job.exploded")
    assert unknown.status_code == 422


def test_webhooks_are_seen_by_readers_and_changed_by_others_alone(visitor: Visitor) -> None:
    visitor.post("/platform/webhooks", address="https://93.184.215.14/hook")
    reader = sign_in(visitor.api, visitor.api.reader)
    shown = reader.get("/platform/webhooks").text
    assert "93.184.215.14" in shown
    assert "Make a webhook" not in shown
    assert reader.post("/platform/webhooks", address="https://93.184.215.14/").status_code == 403
    assert "93.184.215.14" not in sign_in(visitor.api, visitor.api.other).get("/platform/webhooks").text


def test_an_operator_deletes_a_project_by_typing_its_name(visitor: Visitor) -> None:
    operator = sign_in(visitor.api, {"Authorization": visitor.api.client.headers["Authorization"]})
    assert operator.post("/platform/projects", name="short-lived").status_code == 303
    project = next(
        one for one in visitor.api.client.get("/v1/projects").json()["data"] if one["name"] == "short-lived"
    )
    assert project["id"] in operator.get("/platform/projects").text
    path = f"/platform/projects/{project['id']}/delete"
    assert operator.post(path, name="another").status_code == 400
    assert operator.post(path, name="short-lived").status_code == 303
    assert visitor.api.client.get(f"/v1/projects/{project['id']}").status_code == 404
    assert visitor.get("/platform/projects").status_code == 403


def test_for_how_long_texts_are_kept_is_shown(visitor: Visitor) -> None:
    visitor.api.client.put("/v1/data-retention", json={"text_days": 45})
    assert "45 days" in visitor.get("/platform").text


def test_an_operator_asks_for_a_base_model_and_sees_what_came_of_it(visitor: Visitor) -> None:
    operator = sign_in(visitor.api, {"Authorization": visitor.api.client.headers["Authorization"]})
    assert operator.post("/platform/base-models", model="acme/tiny", license="mit").status_code == 303
    shown = operator.get("/platform/base-models").text
    assert "acme/tiny" in shown
    assert "waits for a worker that may fetch" in shown
    assert operator.post("/platform/base-models", model=MODEL).status_code == 422


def test_an_administrator_is_not_shown_the_page_of_base_models(visitor: Visitor) -> None:
    assert visitor.get("/platform/base-models").status_code == 403
    assert "/platform/base-models" not in visitor.get("/platform").text


def test_an_operator_releases_a_sick_worker_on_the_page(visitor: Visitor) -> None:
    with transaction(visitor.api.engine) as session:
        saw_worker(session, "sick:1")
        note_sick(session, "sick:1", "The self-test failed: cuda:0 is broken")
    shown = visitor.get("/platform").text
    assert "cuda:0 is broken" in shown
    assert "sick%3A1/release" not in shown
    operator = sign_in(visitor.api, {"Authorization": visitor.api.client.headers["Authorization"]})
    assert "/platform/workers/sick%3A1/release" in operator.get("/platform").text
    assert visitor.post("/platform/workers/sick:1/release").status_code == 403
    assert operator.post("/platform/workers/sick:1/release").status_code == 303
    assert "in quarantine" not in operator.get("/platform").text
