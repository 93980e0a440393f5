"""A real HTTP server that receives webhooks and answers as a test wants it to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Receiver:
    url: str = ""
    host: str = ""  # with its port, as the allow-list names it
    answers: list[int] = field(default_factory=list)  # one status per request; 200 once they are used up
    location: str = ""  # where a redirect points to
    received: list[Received] = field(default_factory=list)
    hanging: str = "/hang"  # a path that is not answered
    stop_hanging: Event = field(default_factory=Event)


@contextmanager
def receiver(answers: Sequence[int] = (), location: str = "") -> Iterator[Receiver]:
    running = Receiver(answers=list(answers), location=location)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            running.received.append(Received(self.path, dict(self.headers), body))
            if self.path == running.hanging:
                running.stop_hanging.wait()
            self.send_response(running.answers.pop(0) if running.answers else 200)
            if running.location:
                self.send_header("Location", running.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def handle(self) -> None:
            with suppress(ConnectionError):  # a sender that has waited long enough
                super().handle()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.host = f"127.0.0.1:{server.server_port}"
    running.url = f"http://{running.host}/hook"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield running
    finally:
        running.stop_hanging.set()
        server.shutdown()
        server.server_close()
        thread.join()
