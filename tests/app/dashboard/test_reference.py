"""/docs runs only what the server itself serves."""

from __future__ import annotations

import re

from tests.app.dashboard.conftest import Visitor

LOADED = re.compile(r'(?:src|href)="([^"]+)"')


def test_reference_loads_nothing_from_elsewhere_and_may_not(visitor: Visitor) -> None:
    answer = visitor.client.get("/docs", headers={"authorization": ""})
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    loaded = LOADED.findall(answer.text)
    assert len(loaded) == 5
    for url in loaded:
        assert not url.startswith(("http:", "https:", "//")), url
        found = visitor.client.get(url if url.startswith("/") else f"/{url}", headers={"authorization": ""})
        assert found.status_code == 200, url


def test_the_address_that_fastapi_redirected_to_is_gone(visitor: Visitor) -> None:
    assert visitor.client.get("/docs/oauth2-redirect").status_code == 404


def test_no_redirect_names_a_host_that_the_request_claims(visitor: Visitor) -> None:
    for path in ("/dashboard", "/dashboard/", "/dashboard/jobs/", "/v1/jobs/", "/v1/datasets/"):
        answer = visitor.client.get(path, headers={"host": "elsewhere.example"}, follow_redirects=False)
        assert "elsewhere" not in answer.headers.get("location", ""), path
    assert visitor.client.get("/dashboard").url.path == "/dashboard/jobs"
