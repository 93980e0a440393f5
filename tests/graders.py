"""A real grader on this machine: verifies what it is sent, and answers as a test wants it to."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from standardwebhooks import Webhook

Answer = tuple[int, bytes]


def right_if_equal(data: dict[str, Any]) -> Answer:
    return 200, json.dumps({"value": data["answer"] == data["example"]["answer"]}).encode()


@dataclass
class RunningGrader:
    url: str = ""
    host: str = ""  # with its port, as the allow-list names it
    secret: str = ""  # with it every request is verified; empty: none is
    judge: Callable[[dict[str, Any]], Answer] = right_if_equal
    asked: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


@contextmanager
def grader(certificate: Path | None = None, name: str = "127.0.0.1") -> Iterator[RunningGrader]:
    """Over HTTPS with this certificate and key in one file; None: plain HTTP."""
    running = RunningGrader()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, said = 401, b"{}"
            with suppress(Exception):
                headers = dict(self.headers)
                sent = Webhook(running.secret).verify(body, headers) if running.secret else json.loads(body)
                running.asked.append(sent["data"])
                running.ids.append(headers["webhook-id"])
                status, said = running.judge(sent["data"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    running.host = f"{name}:{server.server_port}"
    running.url = f"http{'s' if certificate else ''}://{running.host}/grade"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
