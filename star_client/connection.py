"""Which server, and with which key: the arguments, else STAR_URL and STAR_API_KEY, else the platform
that runs in this folder (`star serve` writes `url` and `api-key` into `.star`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from star_client.errors import NotAuthorised, Unreachable


@dataclass(frozen=True, slots=True)
class Connection:
    base_url: str
    api_key: str


def find_connection(base_url: str | None, api_key: str | None) -> Connection:
    """Raises Unreachable where no server is known, NotAuthorised where no key is."""
    home = Path(os.environ.get("STAR_HOME") or ".star")
    embedded = _read(home / "url")
    url = base_url or os.environ.get("STAR_URL") or embedded
    if url is None:
        raise Unreachable(
            "No server is known: set STAR_URL and STAR_API_KEY, or start one here with `star serve`."
        )
    key = api_key or os.environ.get("STAR_API_KEY")
    if key is None and url == embedded:  # never sent to any other server
        key = _read(home / "api-key")
    if key is None:
        raise NotAuthorised(401, "no_api_key", f"Set STAR_API_KEY to an API key of {url}.")
    return Connection(url.rstrip("/"), key)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
