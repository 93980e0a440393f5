"""JSON values behind their length, between processes."""

from __future__ import annotations

import json
import os
from typing import Any

MAX_FRAME = 64 << 20
CHUNK = 1 << 16


def read_exactly(fd: int, count: int) -> bytes:
    parts = []
    while count:
        part = os.read(fd, min(count, CHUNK))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def read_frame(fd: int) -> Any:
    """A JSON value behind its length. No byte beyond it is read: what follows may be another's secret."""
    size = int.from_bytes(read_exactly(fd, 8), "big")
    if size > MAX_FRAME:
        raise EOFError
    return json.loads(read_exactly(fd, size))


def write_frame(fd: int, value: Any) -> None:
    data = json.dumps(value).encode()
    data = len(data).to_bytes(8, "big") + data
    while data:
        data = data[os.write(fd, data) :]
