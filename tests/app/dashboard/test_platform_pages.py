"""Workers, queue, quota, usage, keys and the audit log, as far as the key may see them."""

from __future__ import annotations

import re
from html import unescape

from app.database import transaction
from app.ledger.queue.capacity import Capacity, saw_worker
from tests.app.dashboard.conftest import Visitor, sign_in


def test_workers_and_this_projects_queue_are_shown(visitor: Visitor) -> None:
    assert "No worker is there" in visitor.get("/platform").text
    with transaction(visitor.api.engine) as session:
        saw_worker(session, "host:1", Capacity(gpus=2, gpu_memory_gib=80, gpu_class="h100"))
    job = visitor.api.job(name="<b>mine</b>")
    shown = visitor.get("/platform").text
    assert "host:1" in shown
    assert "80 GiB" in shown
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
