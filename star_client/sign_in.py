"""Signing in as a person: `star login` keeps a personal key for each server in a file of the user's own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_client.connection import Connection, keys_file, stored_keys
from star_client.errors import NotAuthorised
from star_client.transport import Request, Transport

PATH = "/v1/sign-in/device"


@dataclass(frozen=True, slots=True)
class SignedIn:
    key: str
    person: str
    project: str
    scope: str
    expires_at: str


def sign_in(
    base_url: str,
    *,
    project: str | None = None,
    show: Callable[[str, str], None],
    pause: Callable[[float], None] = time.sleep,
) -> SignedIn:
    """Sign in with the server's identity provider and return a personal key. Blocks until it is done.

    `show` is given the address to open in a browser and the code to compare there. Raises NotAuthorised if
    the time is over; Refused, NotFound and Unreachable as every request does.
    """
    with Transport(Connection(base_url, ""), pause) as transport:
        begun = transport.send(Request("POST", PATH)).json()
        show(begun["verification_uri_complete"] or begun["verification_uri"], begun["user_code"])
        asked = {"device_code": begun["device_code"], "project": project}
        for _ in range(begun["expires_in"] // begun["interval"]):
            made = transport.send(Request("POST", f"{PATH}/token", json=asked)).json()
            if made["status"] == "done":
                return SignedIn(
                    made["key"], made["person"], made["project"], made["scope"], made["expires_at"]
                )
            pause(begun["interval"])
    raise NotAuthorised(401, "sign_in_expired", "Nobody finished the sign-in in time. Run star login again.")


def keep_key(base_url: str, key: str | None) -> Path:
    """Write the server's personal key (None: forget it) into the user's own file, readable by nobody else."""
    path = keys_file()
    keys: dict[str, Any] = stored_keys() | {base_url.rstrip("/"): key}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({url: kept for url, kept in keys.items() if kept is not None}, file)
    part.replace(path)
    return path
