"""Links to a job's report: who may make them, what they show, and when they lead nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from app.database import clock, transaction
from app.ledger.deletion.remove import remove_deleted
from app.storage import Storage
from app.tables.jobs import Job
from app.tables.platform import Project
from app.tables.quality import ShareLink
from tests.app.api_harness import Api, serve
from tests.app.jobs.test_report import write_two_iterations

NO_KEY = {"Authorization": ""}


@pytest.fixture
def job(api: Api) -> str:
    job_id = str(api.job(name="<i>sums</i>")["id"])
    write_two_iterations(api, job_id)
    return job_id


def share(api: Api, job_id: str, **sent: Any) -> dict[str, Any]:
    answer = api.client.post(f"/v1/jobs/{job_id}/shares", json=sent)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def opened(api: Api, url: str) -> int:
    answer = api.client.get(url, headers=NO_KEY)
    assert answer.headers["x-robots-tag"].startswith("noindex")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "script-src 'unsafe" not in answer.headers["content-security-policy"]
    return int(answer.status_code)


def test_a_link_shows_the_report_without_a_key_and_nothing_of_it_is_stored(api: Api, job: str) -> None:
    made = share(api, job, expires_in_days=7, note="for Ann")
    page = api.client.get(made["url"], headers=NO_KEY)
    assert page.status_code == 200
    own = api.client.get(f"/v1/jobs/{job}/report", params={"format": "html"})
    assert page.text == own.text
    assert "<i>sums" not in page.text
    secret = made["url"].rpartition("/")[2]
    assert len(secret) >= 43
    with transaction(api.engine) as session:
        row = session.scalars(select(ShareLink)).one()
        assert secret not in str([getattr(row, column.name) for column in ShareLink.__table__.columns])
        assert (row.expires_at - row.created_at).days in (6, 7)
    shown = api.client.get("/v1/shares", params={"job": job}, headers=api.reader).json()["data"]
    assert [(one["id"], one["note"]) for one in shown] == [(made["id"], "for Ann")]
    assert "url" not in shown[0]


@pytest.mark.parametrize("place", ["revoked", "expired", "forbidden", "job deleted", "project deleted"])
def test_a_link_leads_nowhere_once_it_must_not(api: Api, job: str, place: str) -> None:
    made = share(api, job)
    assert opened(api, made["url"]) == 200
    if place == "revoked":
        assert api.client.post(f"/v1/shares/{made['id']}/revoke").json()["revoked_at"] is not None
    elif place == "forbidden":
        answer = api.client.put("/v1/sharing", json={"allowed": False}, headers=api.admin)
        assert answer.json()["allowed"] is False
        refused = api.client.post(f"/v1/jobs/{job}/shares", json={})
        assert (refused.status_code, refused.json()["code"]) == (403, "sharing_forbidden")
    else:
        changes = {
            "expired": update(ShareLink).values(expires_at=clock(-1)),
            "job deleted": update(Job).where(Job.id == job).values(deleted_at=clock()),
            "project deleted": update(Project).where(Project.name == "owner").values(deleted_at=clock()),
        }
        with transaction(api.engine) as session:
            session.execute(changes[place])
    assert opened(api, made["url"]) == 404
    if place == "forbidden":
        api.client.put("/v1/sharing", json={"allowed": True}, headers=api.admin)
        assert opened(api, made["url"]) == 200


def test_only_the_whole_link_leads_to_the_report(api: Api, job: str) -> None:
    one, other = share(api, job), share(api, job)
    base, _, secret = one["url"].rpartition("/")
    for wrong in (
        f"{base}/{'x' * len(secret)}",
        f"{base}/{other['url'].rpartition('/')[2]}",
        f"/shared/shr_x/{secret}",
        f"/shared/{one['id']}%00/{secret}",
    ):
        assert opened(api, wrong) == 404, wrong
    for below in ("", "/", f"/{secret}/x", f"/{secret}/../../v1/jobs"):
        assert api.client.get(f"{base}{below}", headers=NO_KEY).status_code in (401, 404)


def test_other_jobs_than_its_baselines_are_not_named(api: Api, job: str) -> None:
    made = share(api, job)
    with transaction(api.engine) as session:
        of_project = api.job(name="a fork of it")["id"], api.job(name="its baseline")["id"]
        session.get_one(Job, of_project[0]).forked_from = job
        session.get_one(Job, of_project[1]).baseline_of = job
        session.get_one(Job, of_project[1]).baseline = "sft-direct"
    page = api.client.get(made["url"], headers=NO_KEY).text
    assert "its baseline" in page
    assert "a fork of it" not in page
    assert "a fork of it" in api.client.get(f"/v1/jobs/{job}/report", params={"format": "html"}).text


def test_making_and_revoking_are_in_the_audit_log_and_need_their_scopes(api: Api, job: str) -> None:
    path = f"/v1/jobs/{job}/shares"
    assert api.client.post(path, json={}, headers=api.reader).status_code == 403
    assert api.client.post(path, json={}, headers=api.other).status_code == 404
    assert api.client.put("/v1/sharing", json={"allowed": False}, headers=api.reader).status_code == 403
    made = share(api, job)
    assert api.client.get(f"/v1/shares/{made['id']}", headers=api.other).status_code == 404
    assert api.client.post(f"/v1/shares/{made['id']}/revoke", headers=api.other).status_code == 404
    api.client.post(f"/v1/shares/{made['id']}/revoke")
    found = api.client.get("/v1/audit", params={"target": made["id"]}).json()["data"]
    assert [(one["change"], one["fields"]) for one in found] == [("changed", ["revoked_at"]), ("created", [])]
    assert api.client.post(path, json={"expires_in_days": 366}).status_code == 422


def test_a_repeated_request_makes_one_link_and_shows_its_address_once(api: Api, job: str) -> None:
    headers = {"Idempotency-Key": "a"}
    first = api.client.post(f"/v1/jobs/{job}/shares", json={}, headers=headers)
    again = api.client.post(f"/v1/jobs/{job}/shares", json={}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert "url" not in again.json()


def test_links_go_with_the_rows_of_their_job(api: Api, job: str) -> None:
    share(api, job)
    api.client.post(f"/v1/jobs/{job}/cancel")
    assert api.client.delete(f"/v1/jobs/{job}").status_code == 204
    with transaction(api.engine) as session:
        session.execute(update(Job).where(Job.id == job).values(deleted_at=clock(-7200)))
    remove_deleted(api.engine, Storage(api.settings.resolved_storage_url()))
    with transaction(api.engine) as session:
        assert session.scalars(select(ShareLink)).all() == []


def test_an_address_that_opens_many_is_told_to_wait(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home", shared_report_limit="3/minute") as api:
        made = share(api, api.job()["id"])
        assert [opened(api, made["url"]) for _ in range(4)] == [200, 200, 200, 429]


def test_the_address_is_that_of_the_deployment_where_it_is_known(
    sqlite_database_url: str, tmp_path: Path
) -> None:
    with serve(sqlite_database_url, tmp_path / "home", public_url="https://star.example.org/") as api:
        made = share(api, api.job()["id"])
        assert made["url"].startswith(f"https://star.example.org/shared/{made['id']}/")
