"""A receiver of OTLP over HTTP, as a collector is one: it keeps the spans that processes send it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    """A span, its ids in hex."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    service: str
    attributes: dict[str, str]
    failed: bool


@dataclass
class Receiver:
    url: str
    spans: list[Received] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)

    def named(self, name: str) -> list[Received]:
        return [one for one in self.spans if one.name == name]

    def take(self, path: str, body: bytes) -> None:
        self.paths.add(path)
        sent = ExportTraceServiceRequest.FromString(body)
        for resource in sent.resource_spans:
            of_process = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                for one in scope.spans:
                    self.spans.append(
                        Received(
                            one.name,
                            one.trace_id.hex(),
                            one.span_id.hex(),
                            one.parent_span_id.hex(),
                            tuple(link.span_id.hex() for link in one.links),
                            of_process["service.name"],
                            {pair.key: str(pair.value) for pair in one.attributes},
                            one.status.code == 2,
                        )
                    )


@contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    """A running one; its URL is what OTEL_EXPORTER_OTLP_ENDPOINT says."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.take(self.path, body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
