"""People sign in with an identity provider, over real HTTP; what it says decides, and nothing forged does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient

from app.errors import Conflict, Forbidden
from app.ledger.platform.keys import Scope
from app.platform.oidc import Person, place_of
from app.settings import Settings
from tests.app.api_harness import Api, bearer, serve
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider, oidc_provider

ADA = {
    "sub": "1815",
    "name": "Ada Lovelace",
    "email": "ada@example.org",
    "email_verified": True,
    "groups": ["mathematicians", "everybody"],
}
ROLES = {"mathematicians": "owner:submit", "leads": "owner:admin", "visitors": "guests:read"}


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with oidc_provider() as running:
        running.person = dict(ADA)
        yield running


@pytest.fixture
def site(database_url: str, tmp_path: Path, provider: OidcProvider) -> Iterator[Api]:
    with serve(
        database_url,
        tmp_path / "home",
        public_url="http://testserver",
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_roles=ROLES,
    ) as running:
        del running.client.headers["Authorization"]
        yield running


def browser(site: Api) -> TestClient:
    client = TestClient(site.client.app, follow_redirects=False)
    client.portal = site.client.portal
    return client


def come_back(visitor: TestClient, **query: str) -> str:
    """From the form to the provider, which sends the browser back to this address."""
    there = visitor.get("/dashboard/oidc/start", params=query)
    assert there.status_code == 303, there.text
    back = httpx2.get(there.headers["location"])
    assert back.status_code == 302
    return str(back.headers["location"])


def sign_in_by_command(site: Api, provider: OidcProvider, **more: str) -> dict[str, Any]:
    begun = site.client.post("/v1/sign-in/device").json()
    provider.agree()
    answer = site.client.post("/v1/sign-in/device/token", json={"device_code": begun["device_code"], **more})
    return {"status_code": answer.status_code, **answer.json()}


def test_person_signs_in_on_the_dashboard_and_is_the_creator_of_their_jobs(
    site: Api, provider: OidcProvider
) -> None:
    visitor = browser(site)
    assert f"Sign in with {provider.issuer}" in visitor.get("/dashboard/sign-in").text
    answer = visitor.get(come_back(visitor, next="/dashboard/datasets"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/datasets")
    assert visitor.get("/dashboard/datasets").status_code == 200
    key = visitor.cookies["star_key"]
    site.client.headers.update(bearer(key))
    job = site.job()
    assert job["created_by"]["name"] == "Ada Lovelace <ada@example.org>"
    assert job["created_by"]["person"] == provider.person["sub"]
    for what in ("datasets", "prompt-sets"):
        made = site.client.get(f"/v1/{what}").json()["data"][0]["created_by"]
        assert made == {"key": job["created_by"]["key"], "name": "Ada Lovelace <ada@example.org>"}
    assert site.client.get("/v1/api-keys").status_code == 403  # her groups say submit


def test_person_signs_in_with_a_command_once_they_have_agreed(site: Api, provider: OidcProvider) -> None:
    begun = site.client.post("/v1/sign-in/device")
    assert begun.status_code == 200, begun.text
    assert begun.json()["verification_uri_complete"].endswith("WDJB-MJHT")
    asked = {"device_code": begun.json()["device_code"]}
    pending = site.client.post("/v1/sign-in/device/token", json=asked)
    assert (pending.json()["status"], pending.json()["key"]) == ("pending", None)
    provider.agree()
    done = site.client.post("/v1/sign-in/device/token", json=asked)
    made = done.json()
    assert (made["status"], made["person"]) == ("done", "Ada Lovelace <ada@example.org>")
    assert (made["project"], made["scope"]) == ("owner", "submit")
    assert made["expires_at"] is not None
    assert done.headers["cache-control"] == "no-store"
    assert site.client.get("/v1/jobs", headers=bearer(made["key"])).status_code == 200
    again = site.client.post("/v1/sign-in/device/token", json=asked)  # a code counts once
    assert (again.status_code, again.json()["code"]) == (403, "sign_in_refused")


@pytest.mark.parametrize(
    "forged",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another client"},
        {"exp": 1_000_000_000},
        {"nonce": "of another sign-in"},
        {"sub": None},
    ],
)
def test_token_that_was_made_for_something_else_signs_nobody_in(
    site: Api, provider: OidcProvider, forged: dict[str, Any]
) -> None:
    provider.forged = forged
    visitor = browser(site)
    answer = visitor.get(come_back(visitor))
    assert answer.status_code == 403, answer.text
    assert "star_key" not in visitor.cookies


def test_token_that_another_key_signed_signs_nobody_in(site: Api, provider: OidcProvider) -> None:
    assert sign_in_by_command(site, provider)["status"] == "done"
    known, provider.key = provider.key, RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
    stolen = provider.key
    provider.key = known
    token = provider.id_token
    provider.id_token = lambda nonce=None: _signed_by(provider, stolen, token, nonce)  # type: ignore[method-assign]
    assert sign_in_by_command(site, provider)["status_code"] == 403


def _signed_by(provider: OidcProvider, key: RSAKey, token: Any, nonce: str | None) -> str:
    known, provider.key = provider.key, key
    try:
        return str(token(nonce))
    finally:
        provider.key = known


def test_keys_of_the_provider_may_change(site: Api, provider: OidcProvider) -> None:
    assert sign_in_by_command(site, provider)["status"] == "done"
    provider.key = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
    assert [sign_in_by_command(site, provider)["status_code"] for _ in range(2)] == [403, 200]


def test_sign_in_that_another_browser_began_is_refused(site: Api) -> None:
    """An attacker's own code, put into a victim's browser, would sign the victim in as the attacker."""
    mine, theirs = browser(site), browser(site)
    back = come_back(mine)
    assert theirs.get(back).status_code == 403
    come_back(theirs)  # has begun one too, with another state
    assert theirs.get(back).status_code == 403
    assert "star_key" not in theirs.cookies


def test_code_counts_once_and_errors_of_the_provider_are_said(site: Api) -> None:
    visitor = browser(site)
    back = come_back(visitor)
    assert visitor.get(back).status_code == 303
    assert browser(site).get(back).status_code == 403
    state = parse_qs(urlsplit(back).query)["state"][0]
    answer = visitor.get("/dashboard/oidc/callback", params={"error": "access_denied", "state": state})
    assert answer.status_code == 403
    assert "did not sign you in" in answer.text


def test_person_without_a_role_is_refused_and_one_with_several_chooses(
    site: Api, provider: OidcProvider
) -> None:
    provider.person["groups"] = ["everybody"]
    assert sign_in_by_command(site, provider)["code"] == "no_role"
    provider.person["groups"] = ["mathematicians", "visitors", "leads"]
    refused = sign_in_by_command(site, provider)
    assert refused["code"] == "several_projects"
    assert "guests, owner" in refused["detail"]
    made = sign_in_by_command(site, provider, project="owner")
    assert (made["project"], made["scope"]) == ("owner", "admin")
    visitor = browser(site)
    assert 'name="project"' in visitor.get(come_back(visitor)).text
    assert visitor.get(come_back(visitor, project="guests")).status_code == 303


def test_personal_key_ends_by_itself(database_url: str, tmp_path: Path, provider: OidcProvider) -> None:
    settings = {
        "public_url": "http://testserver",
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_roles": ROLES,
    }
    with serve(database_url, tmp_path / "home", oidc_key_seconds=0.2, **settings) as site:
        key = sign_in_by_command(site, provider)["key"]
        until = time.monotonic() + 10
        while site.client.get("/v1/jobs", headers=bearer(key)).status_code != 401:
            assert time.monotonic() < until


def test_without_a_provider_nothing_is_offered(sqlite_api: Api) -> None:
    assert "Sign in with" not in sqlite_api.client.get("/dashboard/sign-in").text
    for method, path in (("GET", ""), ("POST", "/device"), ("POST", "/device/token")):
        answer = sqlite_api.client.request(method, f"/v1/sign-in{path}", json={"device_code": "x"})
        assert (answer.status_code, answer.json()["code"]) == (404, "no_oidc")


def test_provider_that_is_away_is_503(site: Api, provider: OidcProvider) -> None:
    site.client.app.state.identity_provider._settings = Settings(  # type: ignore[attr-defined]
        public_url="http://testserver", oidc_issuer="http://127.0.0.1:9", oidc_client_id="x", oidc_roles=ROLES
    )
    answer = site.client.post("/v1/sign-in/device")
    assert (answer.status_code, answer.json()["code"]) == (503, "identity_provider_away")


def test_sign_ins_of_an_address_are_counted(
    sqlite_database_url: str, tmp_path: Path, provider: OidcProvider
) -> None:
    with serve(sqlite_database_url, tmp_path / "home", wrong_key_limit="2/minute") as site:
        answers = [site.client.post("/v1/sign-in/device") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert answers[2].json()["code"] == "too_many_sign_ins"


def test_settings_that_do_not_fit_are_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="STAR_OIDC_CLIENT_ID, STAR_OIDC_ROLES"):
        Settings(oidc_issuer="https://id.example", public_url="https://star.example")
    with pytest.raises(ValueError, match="must be project:scope"):
        Settings(oidc_roles={"all": "research:everything"})


def test_the_most_that_any_group_gives_counts() -> None:
    person = Person("1", "Ada", ("visitors", "leads", "mathematicians"))
    assert place_of(person, ROLES, "owner") == ("owner", Scope.ADMIN)
    with pytest.raises(Conflict):
        place_of(person, ROLES, None)
    with pytest.raises(Forbidden):
        place_of(person, ROLES, "another")
