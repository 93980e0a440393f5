"""Where a hub sends the platform: to the address that was checked, wherever no proxy looks up the name."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from app.intake.hub.fetch import _hub
from app.intake.hub.redirects import Stop
from app.settings import Settings
from app.webhooks.targets import read_target

PROXY = "http://proxy.example:3128"


def test_a_pinned_request_asks_for_the_same_path_and_signature() -> None:
    url = "https://files.hub.example/a%2Fb/c d?sig=a%2Bb%2Fc%3D&to=%22x%22~"
    target = read_target(url.replace(" ", "%20"), ())
    stop = Stop(url, target, "2606:4700::1111")
    pinned = stop.request(pin=True)
    assert pinned["url"].raw_path == httpx2.URL(url).raw_path
    assert (pinned["url"].host, pinned["url"].scheme) == ("2606:4700::1111", "https")
    assert pinned["headers"]["Host"] == "files.hub.example"
    assert stop.request(pin=False) == {"url": url}  # a proxy is given the name


@pytest.mark.parametrize(
    ("environment", "pinned"),
    [
        ({}, True),
        ({"NO_PROXY": "localhost,127.0.0.1"}, True),
        ({"HTTP_PROXY": PROXY}, True),
        ({"HTTPS_PROXY": PROXY}, False),
        ({"ALL_PROXY": PROXY}, False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "other.example, hub.org"}, False),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "hub.example"}, True),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "other.example, *.hub.example"}, True),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, True),
    ],
)
def test_only_a_proxy_for_its_name_looks_up_where_a_redirect_leads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], pinned: bool
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    url = "https://files.hub.example/a"
    stop = Stop(url, read_target(url, ()), "203.0.113.7")
    with _hub(Settings(home=tmp_path, hub_url="https://hub.example")) as made:
        client, request = made.way_to(stop)
        assert (client.trust_env, request) == (not pinned, stop.request(pinned))
        assert made.way_to(Stop(url))[0].trust_env  # the hub itself, as the environment says
