"""Where the platform goes for a file of a hub: to the hub, or to a checked address of the public internet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies

import httpx2

from app.webhooks.targets import Target, read_target, resolve


@dataclass(frozen=True, slots=True)
class Stop:
    """A URL on the way to a file; with the address that was checked, where it is not the hub's own."""

    url: str
    target: Target | None = None
    address: str = ""

    def request(self, pin: bool) -> dict[str, Any]:
        """Arguments of a request for it. pin: connect to the checked address, whatever the name means by now;
        it is the name that the certificate is verified against.
        """
        if self.target is None or not pin:
            return {"url": self.url}
        # Closed behind it: the next name at this address is to be verified by a handshake of its own.
        headers = {"Host": self.target.host_header, "Connection": "close"}
        url = httpx2.URL(self.url).copy_with(host=self.address)
        return {"url": url, "headers": headers, "extensions": {"sni_hostname": self.target.host}}


def followed(url: str, location: str, hub: str) -> Stop:
    """Where a redirect leads. Raises ValueError where the platform does not go there; BadTarget is one."""
    url = urljoin(url, location)
    if urlsplit(url)[:2] == urlsplit(hub)[:2]:
        return Stop(url)
    target = read_target(url, ())
    return Stop(url, target, resolve(target))


def proxied(host: str) -> bool:
    """Whether the environment has a proxy for an https URL of this host: that then looks up the name."""
    proxies = getproxies()
    if not (proxies.get("https") or proxies.get("all")):
        return False
    direct = [name.strip().lower().rpartition("://")[2] for name in proxies.get("no", "").split(",")]
    below = [name.removeprefix("*").lstrip(".") for name in direct]
    return "*" not in direct and not any(f".{host}".endswith(f".{name}") for name in below if name)
