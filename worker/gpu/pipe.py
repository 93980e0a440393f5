"""The GPU process as an operating system process: how it is started, spoken to, watched and killed.

A plain Popen in its own session: Celery's prefork children are daemonic and may not use multiprocessing, and
CUDA must never meet a fork. Its stdin carries commands and is the death pipe as well: when this process ends,
however it ends, the child reads EOF and kills its whole process group (worker/gpu/child.py). Both directions
are JSON lines, and this side never blocks on a full pipe.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.25
GRACE_SECONDS = 10.0  # freeing a model takes about one
READ_BYTES = 1 << 20
LOG_TAIL_BYTES = 1 << 16


class GpuDied(RuntimeError):
    """The GPU process is gone. `exit_code` is negative for a signal, as in subprocess."""

    def __init__(self, exit_code: int | None, log_tail: str) -> None:
        how = f"exit status {exit_code}"
        if exit_code is not None and exit_code < 0:
            how = f"killed by {signal.Signals(-exit_code).name}"
        super().__init__(f"The GPU process ended unexpectedly ({how}).")
        self.exit_code = exit_code
        self.log_tail = log_tail


class GpuPipe:
    """A child process that takes JSON lines on stdin and answers on the descriptor of its last argument."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start it, in the folder of this process. The log of its predecessor is kept as `<name>.1`."""
        self.last_progress = time.monotonic()  # when it last said something
        self._log = log
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self.messages: deque[dict[str, Any]] = deque()  # received and not yet looked at
        log.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            log.replace(log.with_name(log.name + ".1"))
        commands, self._commands = os.pipe()
        self._replies, replies = os.pipe()
        try:
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    [sys.executable, *command, str(replies)],
                    stdin=commands,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(replies,),
                    env=environment,
                )
        finally:
            os.close(commands)
            os.close(replies)
        os.set_blocking(self._commands, False)
        os.set_blocking(self._replies, False)
        self.open = True

    @property
    def pid(self) -> int:
        """Process id, which is its process group's id as well."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self.open and self._process.poll() is None

    def log_tail(self, lines: int) -> str:
        with suppress(FileNotFoundError), self._log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        return ""

    def send(self, message: Mapping[str, Any]) -> None:
        """Write it as far as there is room; `pump` writes the rest. Nothing happens after the end."""
        if self.open:
            self._outgoing += json.dumps(message).encode() + b"\n"
            self._write()

    def pump(self) -> None:
        """Write and read what is ready, or wait a moment for it. Raises GpuDied after the last message."""
        if not self.open:
            raise self.death()
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        if self._outgoing:
            poll.register(self._commands, select.POLLOUT)
        ready = [descriptor for descriptor, _ in poll.poll(POLL_SECONDS * 1000)]
        if self._commands in ready:
            self._write()
        if self._replies in ready:
            self._read()
        elif not ready and self._process.poll() is not None:
            self._died()

    def wait_for_exit(self) -> None:
        """Give it the grace period to end by itself."""
        deadline = time.monotonic() + GRACE_SECONDS
        with suppress(GpuDied):
            while self.open and time.monotonic() < deadline:
                self.pump()

    def kill(self) -> None:
        """Kill the process group, engines and data loaders included, and wait until it is gone."""
        if not self.open:
            return
        self.open = False
        self._signal_group(signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # a driver can hold a process in the kernel for a while
            self._process.wait(GRACE_SECONDS)
        deadline = time.monotonic() + GRACE_SECONDS
        while self._signal_group(0) and time.monotonic() < deadline:
            time.sleep(0.01)
        for descriptor in (self._commands, self._replies):
            os.close(descriptor)

    def death(self) -> GpuDied:
        return GpuDied(self._process.returncode, self.log_tail(40))

    def _signal_group(self, number: int) -> bool:
        """Whether the group had anybody to take the signal. Dead members that their new parent has not reaped
        yet count, hence the deadline above."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def _write(self) -> None:
        try:
            while self._outgoing:
                with memoryview(self._outgoing) as data:
                    written = os.write(self._commands, data[:READ_BYTES])
                del self._outgoing[:written]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it died; its last replies are still to be read
            self._outgoing.clear()

    def _read(self) -> None:
        data = os.read(self._replies, READ_BYTES)
        if not data:
            self._died()
        self.last_progress = time.monotonic()
        self._incoming += data
        *lines, rest = self._incoming.split(b"\n")
        self._incoming = rest
        self.messages.extend(json.loads(line) for line in lines)

    def _died(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        self.kill()
        raise self.death()
