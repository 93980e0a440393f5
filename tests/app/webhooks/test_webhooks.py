"""Webhooks over HTTP: made, shown without their secret, changed, rotated, tested, deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings
from app.tables.webhooks import Webhook
from app.webhooks.secrets import server_secret
from tests.app.api_harness import Api, serve

URL = "https://hooks.example.com/star"


def test_webhook_is_made_and_its_secret_shown_once(api: Api) -> None:
    answer = api.client.post("/v1/webhooks", json={"url": URL, "events": ["job.*"], "description": "ours"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["object"] == "webhook"
    assert made["id"].startswith("whk_")
    assert made["secret"].startswith("whsec_")
    assert (made["url"], made["events"], made["description"]) == (URL, ["job.*"], "ours")
    got = api.client.get(answer.headers["location"]).json()
    assert got == {**made, "secret": None}
    assert api.client.get("/v1/webhooks").json()["data"] == [got]


def test_no_column_of_the_table_holds_a_secret() -> None:
    assert {"secret_version", "old_secret_until"} == {
        column.name for column in Webhook.__table__.columns if "secret" in column.name
    }


def test_default_events_are_the_ends_and_pauses_of_jobs(api: Api) -> None:
    made = api.client.post("/v1/webhooks", json={"url": URL}).json()
    assert made["events"] == ["job.succeeded", "job.failed", "job.cancelled", "job.paused"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"url": "http://example.com/"}, "bad_webhook_url", "url"),
        ({"url": "https://169.254.169.254/"}, "bad_webhook_url", "url"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "bad_webhook_url", "url"),
        ({"url": URL, "events": ["job.exploded"]}, "invalid", "events.0"),
        ({"url": URL, "events": []}, "invalid", "events"),
        ({"events": ["*"]}, "invalid", "url"),
        ({"url": URL, "secret": "mine"}, "invalid", "secret"),
    ],
)
def test_bad_webhook_is_refused_with_the_field(
    sqlite_api: Api, body: dict[str, object], code: str, field: str
) -> None:
    answer = sqlite_api.client.post("/v1/webhooks", json=body)
    assert answer.status_code == 422, answer.text
    assert (answer.json()["code"], answer.json()["errors"][0]["field"]) == (code, field)


def test_webhook_is_changed_field_by_field(api: Api) -> None:
    made = api.client.post("/v1/webhooks", json={"url": URL}).json()
    path = f"/v1/webhooks/{made['id']}"
    changed = api.client.patch(path, json={"enabled": False, "events": ["*"]}).json()
    assert changed == {**made, "enabled": False, "events": ["*"], "secret": None}
    assert api.client.patch(path, json={"url": "http://10.0.0.1/"}).status_code == 422
    assert api.client.get(path).json() == changed


def test_rotation_shows_a_new_secret_and_until_when_the_old_one_signs(api: Api) -> None:
    made = api.client.post("/v1/webhooks", json={"url": URL}).json()
    path = f"/v1/webhooks/{made['id']}/rotate-secret"
    rotated = api.client.post(path, json={"grace_seconds": 60}).json()
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != made["secret"]
    assert rotated["old_secret_until"] is not None
    assert api.client.post(path).json()["secret"] not in (made["secret"], rotated["secret"])


def test_test_message_is_queued_and_listed_among_the_deliveries(api: Api) -> None:
    made = api.client.post("/v1/webhooks", json={"url": URL}).json()
    path = f"/v1/webhooks/{made['id']}"
    answer = api.client.post(f"{path}/test")
    assert answer.status_code == 202, answer.text
    queued = answer.json()
    assert (queued["event_type"], queued["status"], queued["attempts"]) == ("webhook.test", "pending", 0)
    assert api.client.get(f"{path}/deliveries").json()["data"] == [queued]
    assert api.client.get(f"{path}/deliveries", params={"status": "delivered"}).json()["data"] == []
    api.client.patch(path, json={"enabled": False})
    assert api.client.post(f"{path}/test").status_code == 409


def test_delivery_is_sent_again_by_hand(api: Api) -> None:
    made = api.client.post("/v1/webhooks", json={"url": URL}).json()
    path = f"/v1/webhooks/{made['id']}"
    delivery = api.client.post(f"{path}/test").json()
    again = f"{path}/deliveries/{delivery['id']}/redeliver"
    answer = api.client.post(again)
    assert answer.status_code == 202, answer.text
    assert {**answer.json(), "next_try_at": None} == {**delivery, "next_try_at": None}
    assert answer.json()["next_try_at"] >= delivery["next_try_at"]
    second = api.client.post("/v1/webhooks", json={"url": URL}).json()["id"]
    assert api.client.post(again.replace(made["id"], second)).status_code == 404
    api.client.patch(path, json={"enabled": False})
    assert api.client.post(again).json()["code"] == "webhook_disabled"


def test_deleted_webhook_is_gone_with_its_log_and_jobs_go_on(api: Api) -> None:
    made = api.client.post("/v1/webhooks", json={"url": URL, "events": ["*"]}).json()
    api.job()
    path = f"/v1/webhooks/{made['id']}"
    assert len(api.client.get(f"{path}/deliveries").json()["data"]) == 3
    assert api.client.delete(path).status_code == 204
    assert api.client.get(path).status_code == 404
    api.job()


def test_another_project_neither_sees_nor_touches_a_webhook(api: Api) -> None:
    made = api.client.post("/v1/webhooks", json={"url": URL}).json()
    path = f"/v1/webhooks/{made['id']}"
    delivery = api.client.post(f"{path}/test").json()
    for method, url in (
        ("GET", path),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/test"),
        ("POST", f"{path}/rotate-secret"),
        ("GET", f"{path}/deliveries"),
        ("POST", f"{path}/deliveries/{delivery['id']}/redeliver"),
    ):
        assert api.client.request(method, url, json={}, headers=api.other).status_code == 404, url
    assert api.client.get("/v1/webhooks", headers=api.other).json()["data"] == []


def test_pages_of_deliveries_join_without_gap_or_repeat(api: Api) -> None:
    made = api.client.post("/v1/webhooks", json={"url": URL, "events": ["*"]}).json()
    path = f"/v1/webhooks/{made['id']}/deliveries"
    api.job()
    everything = [one["id"] for one in api.client.get(path).json()["data"]]
    first = api.client.get(path, params={"limit": 2}).json()
    assert first["has_more"]
    rest = api.client.get(path, params={"after": first["last_id"]}).json()
    assert [one["id"] for one in first["data"] + rest["data"]] == everything
    assert everything == sorted(everything, reverse=True)


def test_deployment_without_a_secret_says_who_can_mend_it(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home", webhook_secret="") as bare:
        answer = bare.client.post("/v1/webhooks", json={"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (503, "webhooks_not_set_up")


def test_embedded_mode_makes_its_secret_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", database_url="")
    made = server_secret(settings)
    assert len(made) == 64
    assert server_secret(settings) == made
    (file,) = settings.home.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
