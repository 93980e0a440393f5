"""Keeps one math_worker process per process, and kills it when it does not answer in time."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

WORKER = Path(__file__).with_name("math_worker.py")
INHERITED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX")
START_TIMEOUT = 120.0  # seconds; importing sympy takes 4 on an idle core, and many start at once


class MathTimeout(RuntimeError):
    """No reply in time; the process was killed."""


class MathCrash(RuntimeError):
    """The process died, or could not be started."""


class MathProcess:
    """A long-lived child, as a plain Popen: callers may be daemonic, which multiprocessing lets have none.

    Threads take turns. After a fork the child starts its own: two owners of one pipe would mix their replies.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._requests = 0

    def ask(self, gold: str, answers: list[str], timeout_s: float) -> dict[str, Any]:
        """{"gold": bool, "equal": [bool or None]} or {"error": name}. Raises MathTimeout or MathCrash."""
        with self._lock:
            child = self._running()
            self._requests += 1
            request = {"id": self._requests, "gold": gold, "answers": answers, "timeout_s": timeout_s}
            try:
                return _exchange(child, json.dumps(request), self._requests, timeout_s)
            except (MathTimeout, MathCrash):
                self._kill()
                raise

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def close(self) -> None:
        """Kill the child, if there is one. The next question starts another."""
        with self._lock:
            self._kill()

    def forget(self) -> None:
        """In a forked child: the process belongs to the parent, and so does the lock's state."""
        if self._child is not None:
            self._child.returncode = 0  # not ours to wait for
        self._lock, self._child = threading.Lock(), None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._kill()
        # -P: without it the folder of this file comes first on the path, and its math.py hides Python's.
        self._child = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={name: os.environ[name] for name in INHERITED if name in os.environ},
        )
        try:
            _read_reply(self._child, START_TIMEOUT)
        except (MathTimeout, MathCrash) as problem:
            self._kill()
            raise MathCrash("the math-verify process did not start") from problem
        return self._child

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def _exchange(child: subprocess.Popen[bytes], request: str, number: int, timeout_s: float) -> dict[str, Any]:
    try:
        _pipe(child.stdin).write(request.encode() + b"\n")
        _pipe(child.stdin).flush()
    except OSError as problem:
        raise MathCrash("the math-verify process is gone") from problem
    reply = _read_reply(child, timeout_s)
    if reply.get("id") != number:
        raise MathCrash("the math-verify process answered another question")
    return reply


def _read_reply(child: subprocess.Popen[bytes], timeout_s: float) -> dict[str, Any]:
    replies = _pipe(child.stdout).fileno()
    poll = select.poll()  # not select(): it fails on descriptors above 1023
    poll.register(replies, select.POLLIN | select.POLLHUP)
    deadline = time.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise MathTimeout(f"no reply within {timeout_s:g} s")
        chunk = os.read(replies, 65536)
        if not chunk:
            raise MathCrash("the math-verify process died")
        line += chunk
    reply: dict[str, Any] = json.loads(line)
    return reply


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise MathCrash("the math-verify process has no pipes")
    return pipe


PROCESS = MathProcess()
atexit.register(PROCESS.close)
os.register_at_fork(after_in_child=PROCESS.forget)
