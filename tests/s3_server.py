"""A server that speaks S3 over HTTP, with a bucket for each test that asks for one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from moto.server import ThreadedMotoServer

# What a deployment sets beside STAR_STORAGE_URL for a server that is not Amazon's.
KEY = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
_numbers = itertools.count(1)


@contextmanager
def s3_server() -> Iterator[str]:
    """The URL of a server; it ends with the block."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def environment(url: str) -> dict[str, str]:
    return {**KEY, "AWS_ENDPOINT_URL": url}


def new_bucket(url: str) -> str:
    """Make a bucket and return the URL of a prefix in it, as STAR_STORAGE_URL takes it."""
    name = f"star-{os.getpid()}-{next(_numbers)}"
    httpx2.put(f"{url}/{name}").raise_for_status()
    return f"s3://{name}/artifacts"
