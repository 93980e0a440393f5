"""Files that the server writes while they are read."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import httpx2

from star_client.errors import ServerFailed
from star_client.transport import ATTEMPTS, Request, Transport


def save(transport: Transport, request: Request, file: Path) -> Path:
    """Download into `file`, which appears under its name only when it is complete. Raises Unreachable.

    A download that was cut starts again: the server makes these while it sends them, so none can go on.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{uuid4().hex[:8]}.part")
    attempt = 0
    try:
        while True:
            attempt += 1
            try:
                _write(transport, request, part)
                return part.replace(file)
            except (httpx2.TransportError, ServerFailed) as error:
                if attempt == ATTEMPTS:
                    raise transport.unreachable(error) from error
            transport.pause(attempt)
    finally:
        part.unlink(missing_ok=True)


def _write(transport: Transport, request: Request, part: Path) -> None:
    with part.open("wb") as out, transport.stream(request) as response:
        for data in response.iter_bytes():
            out.write(data)
