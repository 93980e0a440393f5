"""One signed POST to an address that somebody else has chosen, within a time that nobody can stretch."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress

from app.webhooks.targets import Target


def post(
    target: Target, address: str, body: str, headers: dict[str, str], seconds: float, most: int
) -> tuple[int, bytes]:
    """The status that the receiver answers with, and `most` bytes of its answer.

    Connects to `address`, which has been checked, whatever the name means by now. Redirects are answers like
    any other. Raises OSError, TimeoutError or HTTPException.
    """
    deadline = time.monotonic() + seconds
    connected = _connect(target, address, seconds)
    # A timeout of a socket starts again with every byte; this ends a receiver that sends one now and then.
    guard = threading.Timer(max(0.0, deadline - time.monotonic()), _shut, [connected])
    guard.start()
    try:
        return _talk(target, connected, body, headers, most)
    except (OSError, http.client.HTTPException) as failure:
        if time.monotonic() >= deadline:
            raise TimeoutError from failure
        raise
    finally:
        guard.cancel()
        connected.close()


def _connect(target: Target, address: str, seconds: float) -> socket.socket:
    """Connect to the checked address; the TLS handshake verifies the certificate against the name."""
    plain = socket.create_connection((address, target.port), timeout=seconds)
    if target.scheme == "http":
        return plain
    context = ssl.create_default_context()
    return context.wrap_socket(plain, server_hostname=target.host, do_handshake_on_connect=False)


def _talk(
    target: Target, connected: socket.socket, body: str, headers: dict[str, str], most: int
) -> tuple[int, bytes]:
    if isinstance(connected, ssl.SSLSocket):
        connected.do_handshake()
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = connected
    given = {"Host": target.host_header, "Content-Type": "application/json", **headers}
    given |= {"User-Agent": "star-webhooks/1", "Connection": "close"}
    connection.request("POST", target.path, body.encode(), given)
    answer = connection.getresponse()
    return answer.status, answer.read(most)


def _shut(connected: socket.socket) -> None:
    """Below TLS: a goodbye would be one more thing to wait for."""
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
