"""Validates webhook URLs: only https on the public internet; anything doubtful is refused."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

PUBLIC_V6 = ipaddress.ip_network("2000::/3")  # all that is routed today
CARRY_V4 = tuple(  # these can hold a private IPv4 address
    ipaddress.ip_network(network) for network in ("2002::/16", "2001::/32", "64:ff9b::/96", "64:ff9b:1::/48")
)
# Named, whatever Python's list of the day says: is_global has let parts of the first pass, and never knew the
# others. Some clouds serve the metadata of a machine, with its credentials, there.
PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # IETF protocol assignments; 192.0.0.192 was Oracle's metadata
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "168.63.129.16/32",  # the host of an Azure machine
        "169.254.0.0/16",  # link-local: the metadata of most clouds
        "100.64.0.0/10",  # shared by carriers; 100.100.100.200 is Alibaba's metadata
    )
)
Resolve = Callable[[str, int], list[str]]


class BadTarget(ValueError):
    """A URL that webhooks must not be sent to; the message is for the person who gave it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that has been taken apart and may be asked for its address."""

    scheme: str
    host: str  # as in the URL, lower case, without brackets
    port: int
    path: str  # with its query
    allowed: bool  # on the deployment's allow-list: plain http and private addresses are its own choice

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return name if self.port == usual else f"{name}:{self.port}"


def read_target(url: str, allowed_hosts: Iterable[str]) -> Target:
    """Take a URL apart without asking any name server. Raises BadTarget.

    `allowed_hosts`: `host` or `host:port`, exactly; STAR_WEBHOOK_ALLOWED_HOSTS.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadTarget(f"This is no URL: {error}.") from error
    if not url.isascii() or any(character <= " " or character == "\\" for character in url):
        raise BadTarget("The URL holds a space, a control character or one that is not ASCII.")
    if parts.scheme not in ("http", "https") or not host:
        raise BadTarget("The URL must begin with https:// and name a host.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise BadTarget("The URL must hold no user, no password and no fragment.")
    port = port or (443 if parts.scheme == "https" else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    listed = set(allowed_hosts)
    target = Target(parts.scheme, host, port, path, allowed=host in listed or f"{host}:{port}" in listed)
    if not target.allowed:
        _refuse_without_asking(target)
    return target


def resolve(target: Target, ask: Resolve | None = None) -> str:
    """The one address to connect to. Raises BadTarget unless every address of the name is public.

    Every one: a name with a public and a private address would otherwise be a matter of luck.
    """
    try:
        addresses = (ask or _ask)(target.host, target.port)
    except (OSError, UnicodeError) as error:
        raise BadTarget(f"The host {target.host} has no address.") from error
    if not addresses:
        raise BadTarget(f"The host {target.host} has no address.")
    if not target.allowed and not all(is_public(address) for address in addresses):
        raise BadTarget(f"The host {target.host} has an address that is not on the public internet.")
    return addresses[0]


def is_public(text: str) -> bool:
    """Whether an address is on the public internet. False for what cannot be read, and for tunnels."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(str(address.ipv4_mapped))
        if address not in PUBLIC_V6 or any(address in network for network in CARRY_V4):
            return False
    if any(address in network for network in PRIVATE):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _refuse_without_asking(target: Target) -> None:
    if target.scheme != "https":
        raise BadTarget("The URL must begin with https://.")
    literal = _literal(target.host)
    if literal is not None and not is_public(literal):
        raise BadTarget(f"{target.host} is not an address on the public internet.")
    if target.host == "localhost" or target.host.endswith((".localhost", ".local", ".internal")):
        raise BadTarget(f"{target.host} is not a name on the public internet.")


def _literal(host: str) -> str | None:
    """Return the address that a literal host means: 127.0.0.1, ::1, but also 2130706433 or 0x7f.1."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _ask(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
