"""Webhooks reach the public internet and nothing else, however an address is dressed up."""

from __future__ import annotations

import pytest

from app.webhooks.targets import BadTarget, is_public, read_target, resolve

REFUSED_URLS = [
    "http://example.com/",  # not encrypted
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "//example.com/",
    "example.com",
    "",
    "https://",
    "https:///path",
    "https://user:password@example.com/",
    "https://user@example.com/",
    "https://example.com/#fragment",
    "https://example.com:99999/",
    "https://example.com:port/",
    "https://exam ple.com/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com/\r\nHost: other",
    "https://éxample.com/",
    "https://[::1",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://db.localhost/",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.5.4/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",  # 169.254.169.254
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::127.0.0.1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[ff02::1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[2001:db8::1]/",
]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_url_that_may_lead_inside_is_refused_before_any_name_is_looked_up(url: str) -> None:
    with pytest.raises(BadTarget):
        read_target(url, [])


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "header"),
    [
        ("https://example.com", "example.com", 443, "/", "example.com"),
        ("https://Example.COM:8443/a?b=c", "example.com", 8443, "/a?b=c", "example.com:8443"),
        ("https://93.184.216.34/", "93.184.216.34", 443, "/", "93.184.216.34"),
        ("https://[2606:4700::1111]/", "2606:4700::1111", 443, "/", "[2606:4700::1111]"),
    ],
)
def test_public_url_is_taken_apart(url: str, host: str, port: int, path: str, header: str) -> None:
    target = read_target(url, [])
    assert (target.host, target.port, target.path, target.host_header) == (host, port, path, header)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "10.0.0.1"],  # one of two
        ["::ffff:10.0.0.1"],
        ["169.254.169.254"],
        ["fd00:ec2::254"],
        ["fe80::1%eth0"],
        ["not an address"],
        [],
    ],
)
def test_name_that_leads_inside_is_refused_once_it_is_looked_up(addresses: list[str]) -> None:
    with pytest.raises(BadTarget, match=r"example\.com"):
        resolve(read_target("https://example.com/", []), lambda host, port: addresses)


def test_name_without_an_address_is_refused() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(BadTarget, match="has no address"):
        resolve(read_target("https://example.com/", []), unknown)


def test_public_name_gives_the_one_address_to_connect_to() -> None:
    asked = []

    def ask(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["93.184.216.34", "93.184.216.35"]

    assert resolve(read_target("https://example.com:444/", []), ask) == "93.184.216.34"
    assert asked == [("example.com", 444)]


def test_host_on_the_allow_list_may_be_private_and_plain_http() -> None:
    target = read_target("http://hooks.internal:8080/", ["hooks.internal:8080"])
    assert resolve(target, lambda host, port: ["10.1.2.3"]) == "10.1.2.3"
    for url in ("http://hooks.internal:8081/", "http://hooks.internal/", "http://x.hooks.internal:8080/"):
        with pytest.raises(BadTarget):
            read_target(url, ["hooks.internal:8080"])


def test_public_addresses_are_public() -> None:
    assert all(map(is_public, ("1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1")))


@pytest.mark.parametrize(
    "address",
    ["192.0.0.9", "192.0.0.192", "192.88.99.1", "168.63.129.16", "169.254.169.254", "100.100.100.200"],
)
def test_no_address_is_public_where_a_cloud_keeps_its_metadata(address: str) -> None:
    assert not is_public(address)
    assert not is_public(f"::ffff:{address}")
    with pytest.raises(BadTarget):
        read_target(f"https://{address}/", [])
