"""What a program prints, read up to a limit, and how its process has ended."""

from __future__ import annotations

import _thread
import os
import select
import signal
from typing import Any

from worker.sandbox.inside.frames import CHUNK

OUT_OF_MEMORY = ("MemoryError", "[Errno 12]")


class Drain:
    """Reads what a program prints up to a limit, so that it never blocks; `full` where there was more."""

    def __init__(self, out: int, err: int, most: int) -> None:
        self.fds, self.most = {out: bytearray(), err: bytearray()}, most
        self.open = set(self.fds)
        self.full = False
        self.lock = _thread.allocate_lock()

    def follow(self, pid: int) -> None:
        """In a thread: read while the program answers calls, and end it where it prints too much."""
        while self.open and not self.full:
            self.take(1.0)
        if self.full:
            os.kill(pid, signal.SIGKILL)

    def take(self, seconds: float) -> None:
        ready, _, _ = select.select(list(self.open), [], [], seconds) if self.open else ([], [], [])
        with self.lock:
            self._keep([fd for fd in ready if select.select([fd], [], [], 0)[0]])

    def _keep(self, ready: list[int]) -> None:
        for fd in ready:
            part = os.read(fd, CHUNK)
            if not part:
                self.open.discard(fd)
            kept = self.fds[fd]
            self.full = self.full or len(kept) + len(part) > self.most
            kept += part[: self.most - len(kept)]

    def text(self, number: int) -> str:
        return bytes(list(self.fds.values())[number]).decode("utf-8", "replace")


def ended(pid: int, setup: dict[str, Any], *, kill: bool, drain: Drain) -> str:
    """Wait for the program's process, killed first where asked or where it prints too much."""
    if kill:
        os.kill(pid, signal.SIGKILL)
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        drain.take(0.0 if done else 0.02)
        if drain.full and not done:
            os.kill(pid, signal.SIGKILL)
        if done:
            break
    drain.take(0.0)
    if os.WIFSIGNALED(status):
        late = used.ru_utime + used.ru_stime > setup["limits"]["cpu_s"] - 0.1
        if late or os.WTERMSIG(status) == signal.SIGXCPU:
            return "timeout"
        # Nobody else sends it: the sandbox does where memory runs out, and a program that ends itself so.
        return "memory" if os.WTERMSIG(status) == signal.SIGKILL else "error"
    return "ok" if os.WEXITSTATUS(status) == 0 else "error"
