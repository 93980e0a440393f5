"""`star login` against a real server and a real identity provider; the key is the person's and private."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from app.main import create_app
from app.settings import Settings
from star_client.cli.main import app
from star_client.connection import find_connection, keys_file
from star_client.errors import NotAuthorised, NotFound
from star_client.sign_in import keep_key, sign_in
from tests import databases
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider, oidc_provider
from tests.star_client.recorded_platform import serving


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with oidc_provider() as running:
        running.person = {"sub": "1", "name": "Ada Lovelace", "groups": ["mathematicians"]}
        yield running


@pytest.fixture
def url(tmp_path: Path, provider: OidcProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    database_url = f"sqlite:///{tmp_path / 'star.db'}"
    databases.migrate(database_url)
    settings = Settings(
        home=tmp_path,
        database_url=database_url,
        public_url="http://testserver",
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_roles={"mathematicians": "research:submit"},
        wrong_key_limit="100000/minute",  # a test waits for nothing between its questions
    )
    with serving(create_app(settings)) as server:
        where = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        monkeypatch.setenv("STAR_URL", where)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        monkeypatch.delenv("STAR_API_KEY", raising=False)
        yield where


def agree_soon(provider: OidcProvider) -> Thread:
    """The person opens the address that the command shows."""

    def wait_and_agree() -> None:
        until = time.monotonic() + 60
        while not provider.devices and time.monotonic() < until:
            time.sleep(0.01)
        provider.agree()

    thread = Thread(target=wait_and_agree)
    thread.start()
    return thread


def test_login_keeps_a_key_of_the_person_that_the_other_commands_use(
    url: str, provider: OidcProvider
) -> None:
    cli = CliRunner()
    thread = agree_soon(provider)
    done = cli.invoke(app, ["login"])
    thread.join()
    assert done.exit_code == 0, done.output
    assert f"Ada Lovelace may submit in the project research of {url}" in done.stdout
    assert "WDJB-MJHT" in done.stderr
    assert keys_file().stat().st_mode & 0o777 == 0o600
    assert find_connection(None, None).api_key.startswith("star_")
    assert find_connection(None, None).api_key not in done.output
    listed = cli.invoke(app, ["quota", "--json"])
    assert listed.exit_code == 0, listed.output
    assert cli.invoke(app, ["logout"]).exit_code == 0
    with pytest.raises(NotAuthorised, match="star login"):
        find_connection(None, None)


def test_key_of_one_server_is_sent_to_no_other(url: str) -> None:
    keep_key("https://elsewhere.example", "star_theirs")
    keep_key(url, "star_ours")
    assert find_connection("https://elsewhere.example/", None).api_key == "star_theirs"
    assert find_connection(None, None).api_key == "star_ours"
    with pytest.raises(NotAuthorised):
        find_connection("https://third.example", None)


def test_sign_in_that_nobody_finishes_ends(url: str) -> None:
    with pytest.raises(NotAuthorised, match="in time"):
        sign_in(url, show=lambda *_: None, pause=lambda _: None)


def test_server_without_a_provider_says_so(tmp_path: Path) -> None:
    database_url = f"sqlite:///{tmp_path / 'star.db'}"
    databases.migrate(database_url)
    with serving(create_app(Settings(home=tmp_path, database_url=database_url))) as server:
        where = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with pytest.raises(NotFound, match="API keys"):
            sign_in(where, show=lambda *_: None)
