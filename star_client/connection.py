"""Which server, and with which key: the arguments, else STAR_URL and STAR_API_KEY, else the key that
`star login` has kept, else the platform that runs in this folder (`star serve` writes `url` and `api-key`
into `.star`)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from star_client.errors import NotAuthorised, Unreachable


@dataclass(frozen=True, slots=True)
class Connection:
    base_url: str
    api_key: str


def find_url(base_url: str | None) -> str:
    """Return the server's address. Raises Unreachable where none is known."""
    url = base_url or os.environ.get("STAR_URL") or _read(home() / "url")
    if url is None:
        raise Unreachable(
            "No server is known: set STAR_URL and STAR_API_KEY, or start one here with `star serve`."
        )
    return url.rstrip("/")


def keys_file() -> Path:
    """Return the file in which `star login` keeps personal keys, by server."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "star" / "keys.json"


def stored_keys() -> dict[str, str]:
    text = _read(keys_file())
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return {str(url): str(key) for url, key in found.items()} if isinstance(found, dict) else {}


def find_connection(base_url: str | None, api_key: str | None) -> Connection:
    """Raises Unreachable where no server is known, NotAuthorised where no key is."""
    url = find_url(base_url)
    key = api_key or os.environ.get("STAR_API_KEY") or stored_keys().get(url)
    if key is None and url == (_read(home() / "url") or "").rstrip("/"):  # never sent to any other server
        key = _read(home() / "api-key")
    if key is None:
        raise NotAuthorised(
            401, "no_api_key", f"Set STAR_API_KEY to an API key of {url}, or sign in with `star login`."
        )
    return Connection(url, key)


def home() -> Path:
    """The folder of a platform on this machine."""
    return Path(os.environ.get("STAR_HOME") or ".star")


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
