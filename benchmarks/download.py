"""Downloads of an adapter against static file servers on the same machine, and what they cost in memory.

    python -m benchmarks.download [--mib 80] [--rounds 7]

writes docs/benchmarks/download.md. The client reads a plain socket into one buffer and throws the bytes away,
so that it is the servers that are measured. All take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import psutil

from app.database import transaction
from app.storage import Storage
from app.tables.rationales import Adapter
from benchmarks.http_api import ServedApi, served
from benchmarks.ledger_world import new_world
from benchmarks.measuring import interleaved, machine, median_and_range, table
from star_engine.adapters.layout import WEIGHTS
from tests.databases import PROJECT
from tests.factories import World
from worker.valkey import free_port

PAGE = PROJECT / "docs" / "benchmarks" / "download.md"
GOAL, GOAL_MIB = 0.8, 16
ADAPTER = "adp_benchmark"
TOGETHER = 4  # downloads at once, for the memory


def add_adapter(world: World, folder: Path, mib: int) -> None:
    """A verified adapter whose weights are so many MiB of noise, and the same file in `folder`."""
    weights = folder / WEIGHTS
    with weights.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    sha = Storage(world.settings.resolved_storage_url()).put_file(weights)
    job_id = world.submit()
    files = [{"path": WEIGHTS, "size_bytes": weights.stat().st_size, "sha256": sha}]
    with transaction(world.engine) as session:
        session.add(
            Adapter(
                id=ADAPTER,
                job_id=job_id,
                iteration_number=1,
                files=files,
                training={},
                verification={"loads": True},
            )
        )


@contextmanager
def static_server(folder: Path, *command: str) -> Iterator[str]:
    """Serves the folder; `command` gets the port as its last argument. Yields the URL of the weights."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, *command, str(port)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "the static file server did not start"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/{WEIGHTS}"
    finally:
        server.terminate()
        server.wait()


STATIC_FILES = """
import sys, uvicorn
from starlette.staticfiles import StaticFiles
uvicorn.run(StaticFiles(directory="."), port=int(sys.argv[1]), log_level="critical")
"""


def fetch(url: str, *headers: str, digest: bool = False) -> tuple[int, str]:
    """Bytes of the body, thrown away; and their SHA-256 where it is asked for."""
    place = urlsplit(url)
    request = [f"GET {place.path} HTTP/1.1", f"Host: {place.netloc}", "Connection: close", *headers]
    buffer, sha = memoryview(bytearray(1 << 20)), hashlib.sha256()
    with socket.create_connection((str(place.hostname), int(place.port or 80))) as connection:
        connection.sendall(("\r\n".join(request) + "\r\n\r\n").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        first, _, body = head.partition(b"\r\n\r\n")
        assert first.split()[1] in (b"200", b"206"), first
        length = len(body)
        sha.update(body)
        while count := connection.recv_into(buffer):
            length += count
            if digest:
                sha.update(buffer[:count])
    return length, sha.hexdigest()


def speed(url: str, size: int, *headers: str) -> float:
    """MB/s of one download of at least so many bytes."""
    began = time.perf_counter()
    length, _ = fetch(url, *headers)
    seconds = time.perf_counter() - began
    assert length >= size, (url, length, size)
    return length / 1e6 / seconds


def memory(process: psutil.Process, download: Callable[[], object]) -> float:
    """MiB by which the process grows at most while TOGETHER of these run side by side."""
    before = process.memory_info().rss
    threads = [threading.Thread(target=download) for _ in range(TOGETHER)]
    for thread in threads:
        thread.start()
    peak = before
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.002)
    return (peak - before) / 2**20


def measure(api: ServedApi, folder: Path, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """MB/s by way, and the MiB that downloads cost the API."""
    size = (folder / WEIGHTS).stat().st_size
    key = f"Authorization: Bearer {api.key}"
    file = f"{api.url}/v1/adapters/{ADAPTER}/files/{WEIGHTS}"
    tar = f"{api.url}/v1/adapters/{ADAPTER}/archive"
    half = f"Range: bytes={size // 2}-"
    sha = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    assert fetch(file, key, digest=True) == (size, sha)
    with (
        static_server(folder, "-m", "http.server", "--bind", "127.0.0.1") as plain,
        static_server(folder, "-c", STATIC_FILES) as starlette,
    ):
        ways = {
            "file": partial(speed, file, size, key),
            "tar": partial(speed, tar, size, key),
            "second half, by Range": partial(speed, file, size - size // 2, key, half),
            "python -m http.server": partial(speed, plain, size),
            "StaticFiles on uvicorn": partial(speed, starlette, size),
        }
        for way in ways.values():
            way()
        grown = {name: memory(api.process, ways[name]) for name in ("file", "tar")}
        return interleaved(ways, rounds), grown


def report(speeds: dict[str, list[float]], grown: dict[str, float], options: str) -> str:
    others = ("python -m http.server", "StaticFiles on uvicorn")
    fastest = max(others, key=lambda name: median(speeds[name]))
    rows: list[list[object]] = []
    for name, found in speeds.items():
        share = median(found) / median(speeds[fastest])
        goal = "" if name in others else "reached" if share >= GOAL else f"missed: {share:.2f} of {fastest}"
        cost = f"+{grown[name]:.1f} MiB" if name in grown else ""
        if name in grown and grown[name] > GOAL_MIB:
            goal += f"; missed: more than {GOAL_MIB} MiB"
        rows.append([name, median_and_range(found), f"{share:.2f}x", cost, goal])
    head = ["download", "MB/s", "of the fastest static server", f"memory, {TOGETHER} at once", "goal"]
    parts = ["# Downloads", f"```sh\npython -m benchmarks.download {options}\n```", INTRODUCTION]
    return (
        "\n\n".join([*parts, "\n".join(machine("fastapi", "uvicorn", "obstore")), table(head, rows)]) + "\n"
    )


INTRODUCTION = f"""An adapter's weights over loopback: median and range of the rounds, which take turns. The
first three are the API's, with key, ledger and the check of what is asked for; the others only read a file.
Goals: at least {GOAL}x of the faster static file server, and at most {GOAL_MIB} MiB more memory in the API
while {TOGETHER} download at once."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--to", type=Path, default=PAGE)
    chosen = parser.parse_args()
    with new_world("sqlite") as world:
        folder = world.settings.home / "static"
        folder.mkdir()
        add_adapter(world, folder, chosen.mib)
        with served(world) as api:
            speeds, grown = measure(api, folder, chosen.rounds)
    chosen.to.write_text(report(speeds, grown, f"--mib {chosen.mib} --rounds {chosen.rounds}"))


if __name__ == "__main__":
    main()
