"""Clients that poll a job once a second, or stream its events: one light process, for it shares the cores.

    python -m benchmarks.pollers URL KEY JOB --pollers 200 --streams 0 --seconds 15 --settling 6

Plain sockets of asyncio and no HTTP library, which would cost more than the server. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Seen:
    """What all clients of this process were told."""

    seconds: list[float] = field(default_factory=list)  # from a request to the end of its answer
    settling: list[float] = field(default_factory=list)  # the same while clients still come
    statuses: dict[str, int] = field(default_factory=dict)
    events: int = 0
    broken: int = 0


@dataclass(frozen=True)
class Target:
    host: str
    port: int
    key: str
    job: str

    def request(self, path: str, *headers: str) -> bytes:
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            f"Authorization: Bearer {self.key}",
            *headers,
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def poll(target: Target, seen: Seen, wait: float, settled: float, until: float) -> None:
    """Once a second, after `wait` seconds, with the ETag of the last answer; a connection is kept."""
    await asyncio.sleep(wait)
    reader, writer = await asyncio.open_connection(target.host, target.port)
    etag, due = "", time.monotonic()
    while due < until:
        writer.write(target.request(f"/v1/jobs/{target.job}", *([f"If-None-Match: {etag}"] if etag else [])))
        head = await reader.readuntil(b"\r\n\r\n")
        status, headers = _parsed(head)
        if "content-length" in headers and status != "304":
            await reader.readexactly(int(headers["content-length"]))
        (seen.seconds if due > settled else seen.settling).append(time.monotonic() - due)
        seen.statuses[status] = seen.statuses.get(status, 0) + 1
        etag = headers.get("etag", "")
        due = max(due + 1.0, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
    writer.close()


async def stream(target: Target, seen: Seen, until: float) -> None:
    """Counts the events of one stream, and whether one was missed or came twice."""
    reader, writer = await asyncio.open_connection(target.host, target.port)
    writer.write(target.request(f"/v1/jobs/{target.job}/events/stream"))
    last = 0
    while (left := until - time.monotonic()) > 0:
        try:
            line = await asyncio.wait_for(reader.readline(), left)
        except TimeoutError:
            break
        if line.startswith(b"id: "):
            seen.events += 1
            seen.broken += int(line[4:]) != last + 1
            last = int(line[4:])
    writer.close()


def _parsed(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return first.split(" ", 2)[1], {name.lower(): value for name, value in pairs}


async def run(target: Target, pollers: int, streams: int, seconds: float, settling: float) -> dict[str, Any]:
    seen, settled = Seen(), time.monotonic() + settling
    until = settled + seconds
    polls = (poll(target, seen, number / pollers, settled, until) for number in range(pollers))
    await asyncio.gather(*polls, *(stream(target, seen, until) for _ in range(streams)))
    spent = os.times()
    return {**vars(seen), "cpu": spent.user + spent.system}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("url", "key", "job"):
        parser.add_argument(name)
    parser.add_argument("--pollers", type=int, default=200)
    parser.add_argument("--streams", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=15, help="from the end of the settling")
    parser.add_argument("--settling", type=float, default=6)
    chosen = parser.parse_args()
    place = urlsplit(chosen.url)
    assert place.hostname is not None
    assert place.port is not None
    target = Target(place.hostname, place.port, chosen.key, chosen.job)
    asked = run(target, chosen.pollers, chosen.streams, chosen.seconds, chosen.settling)
    print(json.dumps(asyncio.run(asked)))


if __name__ == "__main__":
    main()
