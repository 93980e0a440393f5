"""Who may look, how forms are guarded, and what a browser is allowed to do with the pages."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.cookies import SimpleCookie
from pathlib import Path

from sqlalchemy import text
from starlette.testclient import TestClient

from app.dashboard.static_files import FOLDER
from app.database import transaction
from app.platform.private_files import write_private
from app.sign_in_link import SECONDS, make_token, redeem
from tests.app.api_harness import Api
from tests.app.dashboard.conftest import Visitor, sign_in

ELSEWHERE = re.compile(r"""(?:src|href|action)=["'](?:https?:)?//""")


def test_a_page_leads_to_the_sign_in_form_and_back(sqlite_api: Api) -> None:
    stranger = TestClient(sqlite_api.client.app)
    answer = stranger.get("/dashboard/jobs?name=a", follow_redirects=False)
    assert answer.status_code == 303
    form = stranger.get(answer.headers["location"])
    assert 'value="/dashboard/jobs?name=a"' in form.text
    key = sqlite_api.reader["Authorization"].removeprefix("Bearer ")
    data = {"key": key, "next": "/dashboard/jobs?name=a"}
    inside = stranger.post("/dashboard/sign-in", data=data, follow_redirects=False)
    assert inside.headers["location"] == "/dashboard/jobs?name=a"
    cookie = SimpleCookie(inside.headers["set-cookie"])["star_key"]
    assert cookie.value == key
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "lax", "/dashboard")


def test_sign_in_leads_to_no_other_site(sqlite_api: Api) -> None:
    key = sqlite_api.reader["Authorization"].removeprefix("Bearer ")
    for elsewhere in ("https://evil.example/", "//evil.example", "/dashboard/\\evil.example", "/v1/jobs"):
        data = {"key": key, "next": elsewhere}
        answer = TestClient(sqlite_api.client.app).post(
            "/dashboard/sign-in", data=data, follow_redirects=False
        )
        assert answer.headers["location"] == "/dashboard/jobs"


def test_the_link_of_serve_signs_in_once_and_no_other_text_does(sqlite_api: Api) -> None:
    home = sqlite_api.settings.home
    key = sqlite_api.reader["Authorization"].removeprefix("Bearer ")
    write_private(home / "api-key", key + "\n")
    old, token = make_token(home), make_token(home)
    for wrong in (old, "x", "ä"):
        assert redeem(home, wrong) is None
    stranger = TestClient(sqlite_api.client.app, follow_redirects=False)
    inside = stranger.get("/dashboard/sign-in", params={"once": token, "next": "/dashboard/datasets"})
    assert (inside.status_code, inside.headers["location"]) == (303, "/dashboard/datasets")
    assert SimpleCookie(inside.headers["set-cookie"])["star_key"].value == key
    again = TestClient(sqlite_api.client.app).get("/dashboard/sign-in", params={"once": token})
    assert again.status_code == 401
    assert "This link has been used" in again.text
    assert "set-cookie" not in again.headers
    assert [path.name for path in home.glob("sign-in-token*")] == []


def test_a_link_works_for_an_hour_and_for_one_of_many_at_once(tmp_path: Path) -> None:
    write_private(tmp_path / "api-key", "star_key\n")
    token = make_token(tmp_path)
    file = tmp_path / "sign-in-token"
    assert file.stat().st_mode & 0o777 == 0o600
    made = file.stat().st_mtime
    os.utime(file, (made, made - SECONDS - 1))
    assert redeem(tmp_path, token) is None
    os.utime(file, (made, made))
    with ThreadPoolExecutor(16) as threads:
        got = list(threads.map(lambda _: redeem(tmp_path, token), range(64)))
    assert [one for one in got if one] == ["star_key"]


def test_the_bare_address_leads_to_the_dashboard(sqlite_api: Api) -> None:
    answer = TestClient(sqlite_api.client.app, follow_redirects=False).get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/dashboard/")


def test_a_wrong_key_is_refused_on_the_form_itself(sqlite_api: Api) -> None:
    answer = TestClient(sqlite_api.client.app).post("/dashboard/sign-in", data={"key": "star_x"})
    assert answer.status_code == 401
    assert "This API key is not valid" in answer.text
    assert "set-cookie" not in answer.headers


def test_the_cookie_opens_nothing_of_the_api(visitor: Visitor) -> None:
    assert visitor.client.get("/v1/jobs").status_code == 401


def test_a_key_that_is_revoked_opens_no_page_any_more(visitor: Visitor) -> None:
    assert visitor.get("/jobs").status_code == 200
    keys = visitor.api.client.get("/v1/api-keys").json()["data"]
    admin = next(key["id"] for key in keys if key["name"] == "admin")
    assert visitor.api.client.post(f"/v1/api-keys/{admin}/revoke").status_code == 200
    assert visitor.client.get("/dashboard/jobs", follow_redirects=False).status_code == 303


def test_signing_out_forgets_the_key(visitor: Visitor) -> None:
    assert visitor.post("/sign-out").status_code == 303
    assert visitor.client.get("/dashboard/jobs", follow_redirects=False).status_code == 303


def test_a_form_without_the_token_or_from_another_site_is_refused(visitor: Visitor) -> None:
    form = {"csrf": visitor.token()}
    send = visitor.client.post
    assert send("/dashboard/sign-out", follow_redirects=False).status_code == 403
    assert send("/dashboard/sign-out", data={"csrf": "0" * 64}).status_code == 403
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        assert send("/dashboard/sign-out", data=form, headers=headers).status_code == 403
    headers = {"sec-fetch-site": "same-origin", "origin": "http://testserver"}
    assert send("/dashboard/sign-out", data=form, headers=headers, follow_redirects=False).status_code == 303


def test_the_token_of_one_key_does_not_serve_another(visitor: Visitor) -> None:
    token = sign_in(visitor.api, visitor.api.reader).token()
    assert visitor.client.post("/dashboard/sign-out", data={"csrf": token}).status_code == 403


def test_what_does_not_exist_is_a_page_that_says_so(visitor: Visitor) -> None:
    for path in ("/jobs/job_0", "/nothing"):
        answer = visitor.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "<h1>Not " in answer.text


def test_every_page_forbids_what_comes_from_elsewhere(visitor: Visitor) -> None:
    for path in ("/jobs", "/sign-in", "/nothing"):
        answer = visitor.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not ELSEWHERE.search(answer.text)


def test_static_files_are_kept_by_browsers_until_they_change(visitor: Visitor) -> None:
    for url in re.findall(r'(?:src|href)="(/dashboard/static/[^"]+)"', visitor.get("/jobs").text):
        answer = visitor.client.get(url)
        assert answer.status_code == 200, url
        assert "immutable" in answer.headers["cache-control"]


def test_vendored_files_are_what_was_vendored() -> None:
    vendored = FOLDER / "vendor"
    listed = dict(line.split()[::-1] for line in (vendored / "SHA256SUMS").read_text().splitlines())
    present = {path.name for path in vendored.iterdir()} - {"SHA256SUMS"}
    assert present == set(listed)
    for name, expected in listed.items():
        assert sha256((vendored / name).read_bytes()).hexdigest() == expected, name


def test_a_bug_is_a_page_that_names_the_request(visitor: Visitor) -> None:
    with transaction(visitor.api.engine) as session:
        session.execute(text("ALTER TABLE datasets RENAME TO elsewhere"))
    answer = visitor.get("/datasets")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.text
    assert "elsewhere" not in answer.text
