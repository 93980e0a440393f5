"""Reads an upload in a process of its own, with limits, away from the event loop and from every secret.

The parent calls `read_apart`; the child is `python -m app.intake.child`, the file its standard input.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from typing import BinaryIO

from app.errors import FieldError, Invalid
from app.intake.reading import Reading, read_upload

PR_SET_PDEATHSIG = 1  # linux/prctl.h
FAILED, BEYOND_LIMITS = 1, 3  # exit statuses; 1 is Python's own after an exception
# An arena for each of pyarrow's threads would reserve 64 MiB of the address space that is limited.
_FRUGAL = {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
_INHERITED = ("PATH", "PYTHONPATH", "TMPDIR", "LANG")


@dataclass(frozen=True, slots=True)
class Limits:
    memory_bytes: int  # of address space; the interpreter with pyarrow takes 400 MiB of it
    file_bytes: int  # of any file that it writes
    seconds: int


def read_apart(file: BinaryIO, how: Reading, out: BinaryIO, limits: Limits) -> None:
    """read_upload() in a child. Raises Invalid where it dies of its limits: the file is at fault."""
    command = [sys.executable, "-m", "app.intake.child", str(os.getpid()), how.as_json()]
    numbers = [str(limits.memory_bytes), str(limits.file_bytes), str(limits.seconds)]
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    try:
        done = subprocess.run(
            [*command, *numbers],
            stdin=file.fileno(),
            stdout=out.fileno(),
            stderr=subprocess.PIPE,
            env={**environment, **_FRUGAL},
            timeout=limits.seconds,
        )
    except subprocess.TimeoutExpired as failure:
        raise _beyond(f"It takes longer than {limits.seconds} s to read.") from failure
    if done.returncode == FAILED:
        # Its last line may quote what a row holds, which no log may: only the exception's name.
        last = done.stderr.rstrip().rpartition(b"\n")[2].partition(b":")[0]
        raise RuntimeError(f"reading an upload failed: {last[:100].decode(errors='replace')}")
    if done.returncode == -signal.SIGXCPU:
        raise _beyond(f"It takes longer than {limits.seconds} s of computing to read.")
    if done.returncode:
        raise _beyond(f"It takes more than {limits.memory_bytes >> 20} MiB of memory, or of disk, to read.")


def _beyond(reason: str) -> Invalid:
    mend = "Send it in parts; write Parquet with small row groups; see whether it is what you think it is."
    return Invalid(
        f"The file cannot be read. {reason}",
        code="unreadable_file",
        errors=(FieldError("file", reason, mend),),
    )


def main(parent: str, how: str, memory: str, file_bytes: str, seconds: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before the line above
        return
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, "0"),
    ):
        resource.setrlimit(what, (int(most), int(most)))
    os.lseek(0, 0, os.SEEK_SET)  # the parent may have read ahead, and the offset is shared
    with os.fdopen(0, "rb", closefd=False) as file, os.fdopen(1, "wb", closefd=False) as out:
        try:
            read_upload(file, Reading.from_json(how), out)
        except (MemoryError, OSError, sqlite3.Error):  # OSError: the disk is full, or its limit reached
            os._exit(BEYOND_LIMITS)  # at once: what unwinds may need memory too


if __name__ == "__main__":
    main(*sys.argv[1:])
