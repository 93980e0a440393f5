"""Reads an upload in a limited child process, away from the event loop and from every secret.

The parent enters `reader`; the child is `python -m app.intake.child`, the file its standard input.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.errors import Invalid
from app.given_up import stop_if_given_up
from app.intake.look.preview import preview_upload
from app.intake.reading import Reading, read_upload
from app.sandbox import service_url, use_service

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LESS_URGENT = 5  # a third of a core's time where the API wants the core too
MAX_WORKERS = 4  # what they find is stored by one, which takes a quarter of the time that it took to find
LOOK_SECONDS = 0.5  # between two looks at whether anybody still waits
FAILED, BEYOND_LIMITS = 1, 3  # exit statuses; 1 is Python's own after an exception
# An arena for each of pyarrow's threads would reserve 64 MiB of the address space that is limited.
_FRUGAL = {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
_INHERITED = ("PATH", "PYTHONPATH", "TMPDIR", "LANG")
_SANDBOX = "STAR_SANDBOX_URL"  # where solutions of kind code are executed; the address is no secret


@dataclass(frozen=True, slots=True)
class Limits:
    memory_bytes: int  # of address space; the interpreter with pyarrow takes 400 MiB of it
    file_bytes: int  # of any file that it writes
    seconds: int


class Reader:
    """A child under way. What it finds wrong with the file, or with its limits, is raised as Invalid."""

    def __init__(self, child: subprocess.Popen[bytes], written: int, limits: Limits) -> None:
        self._child, self._written, self._limits = child, written, limits
        self._until = time.monotonic() + limits.seconds

    def wait_for_rows(self) -> None:
        """Wait until the report and the rows are written; the child then goes on to count them."""
        waiting = select.poll()
        waiting.register(self._written, select.POLLIN)
        while not waiting.poll(1000 * min(LOOK_SECONDS, self._left())):
            stop_if_given_up()
            if not self._left():
                raise self._too_slow()
        if not os.read(self._written, 1):  # it has ended without
            self.wait()

    def wait(self) -> None:
        """Wait until everything is written; storing the rows may have taken longer than the time limit for
        reading.
        """
        stderr = self._until_it_ends()
        limits, status = self._limits, self._child.returncode
        if status == FAILED:
            # Its last line may quote what a row holds, which no log may: only the exception's name.
            last = stderr.rstrip().rpartition(b"\n")[2].partition(b":")[0]
            raise RuntimeError(f"reading an upload failed: {last[:100].decode(errors='replace')}")
        if status == -signal.SIGXCPU:
            raise _beyond(f"It takes longer than {limits.seconds} s of computing to read.")
        if status:
            mib = limits.memory_bytes >> 20
            raise _beyond(f"It takes more than {mib} MiB of memory, or of disk, to read.")

    def _until_it_ends(self) -> bytes:
        """Return what it wrote to stderr. It has a second at least."""
        until = max(self._until, time.monotonic() + 1)
        while True:
            try:
                return self._child.communicate(timeout=LOOK_SECONDS)[1]
            except subprocess.TimeoutExpired as failure:
                stop_if_given_up()
                if time.monotonic() > until:
                    raise self._too_slow() from failure

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def _too_slow(self) -> Invalid:
        return _beyond(f"It takes longer than {self._limits.seconds} s to read.")


def frugal_environment() -> dict[str, str]:
    """What a limited child is told: no secret, and one thread."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | _FRUGAL


@contextmanager
def reader(file: BinaryIO, how: Reading, out: BinaryIO, limits: Limits) -> Iterator[Reader]:
    """read_upload() in a child, which does not outlive the block."""
    written, writing = os.pipe()
    command = [sys.executable, "-m", "app.intake.child", str(os.getpid()), how.as_json()]
    numbers = [str(limits.memory_bytes), str(limits.file_bytes), str(limits.seconds), str(writing)]
    try:
        child = subprocess.Popen(
            [*command, *numbers],
            stdin=file.fileno(),
            stdout=out.fileno(),
            stderr=subprocess.PIPE,
            pass_fds=[writing],
            env={**frugal_environment(), _SANDBOX: service_url()},
        )
    except BaseException:
        os.close(written)
        raise
    finally:
        os.close(writing)
    try:
        with child:
            try:
                yield Reader(child, written, limits)
            finally:
                child.kill()
    finally:
        os.close(written)


def _beyond(reason: str) -> Invalid:
    fix = "Send it in parts; write Parquet with small row groups; see whether it is what you think it is."
    detail = f"The file cannot be read. {reason}"
    return Invalid.for_field("file", reason, fix, code="unreadable_file", detail=detail)


def confine(parent: int, memory_bytes: int, file_bytes: int, seconds: int) -> bool:
    """Limit this process, which ends with its parent; False where that has ended already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        return False
    os.nice(LESS_URGENT)
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    return True


def main(parent: str, how: str, memory: str, file_bytes: str, seconds: str, writing: str) -> None:
    use_service(os.environ.get(_SANDBOX, ""))
    if not confine(int(parent), int(memory), int(file_bytes), int(seconds)):
        return
    # Reopened: the offset of descriptor 0 is the parent's too, whose own reading ahead counts on it.
    with Path("/proc/self/fd/0").open("rb") as file, os.fdopen(1, "wb", closefd=False) as out:
        try:
            workers = min(MAX_WORKERS, len(os.sched_getaffinity(0)))
            reading = Reading.from_json(how)
            if reading.look is not None:
                preview_upload(file, reading, out, workers)
            else:
                read_upload(file, reading, out, lambda: _say_written(int(writing)), workers)
        except (MemoryError, OSError, sqlite3.Error):  # OSError: the disk is full, or its limit reached
            os._exit(BEYOND_LIMITS)  # at once: what unwinds may need memory too


def _say_written(pipe: int) -> None:
    os.write(pipe, b"1")


if __name__ == "__main__":
    main(*sys.argv[1:])
