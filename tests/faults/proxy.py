"""A TCP proxy between two parts of the platform that can be made slow, deaf or rude."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

Toxic = Literal["none", "latency", "slow", "cut", "half-open", "refuse"]
LATENCY_SECONDS = 0.3
SLOW_BYTES_PER_SECOND = 20_000
CHUNK = 4096


@dataclass
class Proxy:
    """Listens on 127.0.0.1:`port` for `target`. Set `toxic` at any time; it acts on what is open as well.

    latency: every chunk comes 0.3 s late. slow: 20 kB/s. cut: connections are reset, new ones too.
    half-open: nothing arrives and nothing is closed. refuse: new connections are not accepted.
    """

    target: tuple[str, int]
    toxic: Toxic = "none"
    _open: list[socket.socket] = field(default_factory=list)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, toxic: Toxic) -> None:
        self.toxic = toxic
        if toxic == "cut":
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def close(self) -> None:
        self._closed = True
        self.set("cut")
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._closed:
                client, _ = self._server.accept()
                if self.toxic in ("cut", "refuse"):
                    client.close()
                    continue
                server = socket.create_connection(self.target)
                self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                self._hold_up(len(data))
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _hold_up(self, size: int) -> None:
        while self.toxic == "half-open" and not self._closed:
            time.sleep(0.05)
        if self.toxic == "latency":
            time.sleep(LATENCY_SECONDS)
        elif self.toxic == "slow":
            time.sleep(size / SLOW_BYTES_PER_SECOND)
