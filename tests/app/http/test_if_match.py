"""If-Match: a change that was meant for another version of an object is refused."""

from __future__ import annotations

from typing import Any

import pytest

from app.main import create_app
from app.openapi.document import operations
from tests.app.api_harness import Api


def webhook(api: Api) -> str:
    made = api.client.post("/v1/webhooks", json={"url": "https://93.184.215.14/hook"})
    return f"/v1/webhooks/{made.json()['id']}"


def quota(api: Api) -> str:
    return f"/v1/projects/{api.client.get('/v1/projects').json()['data'][0]['id']}/quota"


def job(api: Api) -> str:
    return f"/v1/jobs/{api.job()['id']}"


def test_every_change_in_place_takes_if_match() -> None:
    for path, method, operation in operations(create_app().openapi()):
        named = {one["name"].lower() for one in operation.get("parameters", [])}
        if method in ("put", "patch"):
            assert "if-match" in named, (method, path)
        assert ("if-match" in named) == ("412" in operation["responses"]), (method, path)


@pytest.mark.parametrize(
    ("path_of", "method", "change", "other"),
    [
        (webhook, "PATCH", {"description": "mine"}, {"description": "theirs"}),
        (job, "PATCH", {"name": "mine"}, {"name": "theirs"}),
        (quota, "PUT", {"queued_jobs": 4}, {"queued_jobs": 7}),
    ],
)
def test_who_read_an_older_version_is_refused_and_changes_nothing(
    api: Api, path_of: Any, method: str, change: dict[str, Any], other: dict[str, Any]
) -> None:
    path = path_of(api)
    read = api.client.get(path).headers["ETag"]
    first = api.client.request(method, path, json=other, headers={"If-Match": read})
    assert first.status_code == 200, first.text
    late = api.client.request(method, path, json=change, headers={"If-Match": read})
    assert (late.status_code, late.json()["code"]) == (412, "changed_since")
    assert "Read it again" in late.json()["detail"]
    now = api.client.get(path)
    assert now.headers["ETag"] == first.headers["ETag"] != read
    again = api.client.request(method, path, json=change, headers={"If-Match": now.headers["ETag"]})
    assert again.status_code == 200


def test_a_webhook_that_changed_is_not_deleted_and_any_version_can_be_asked_for(api: Api) -> None:
    path = webhook(api)
    read = api.client.get(path).headers["ETag"]
    api.client.patch(path, json={"enabled": False})
    assert api.client.delete(path, headers={"If-Match": read}).status_code == 412
    assert api.client.delete(path, headers={"If-Match": "*"}).status_code == 204


def test_the_etag_of_a_polled_job_is_good_for_its_deletion(api: Api) -> None:
    job = api.job()
    path = f"/v1/jobs/{job['id']}"
    queued = api.client.get(path).headers["ETag"]
    api.client.post(f"{path}/cancel")
    assert api.client.delete(path, headers={"If-Match": queued}).status_code == 412
    kept = api.client.put(f"{path}/retention", json={"days": 1}, headers={"If-Match": queued})
    assert kept.status_code == 412
    ended = api.client.get(path).headers["ETag"]
    assert api.client.delete(path, headers={"If-Match": ended}).status_code == 204
