"""Runs a program once for each standard input."""

from __future__ import annotations

import os
import select
from typing import Any

from worker.sandbox.inside.frames import CHUNK, read_frame
from worker.sandbox.inside.output import OUT_OF_MEMORY, Drain, ended
from worker.sandbox.inside.program import fork_program


def run_scripts(setup: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    runs = [run_once(setup, text.encode(errors="replace")) for text in setup["stdins"] or [""]]
    secret = read_frame(0)
    worst = next((run["status"] for run in runs if run["status"] != "ok"), "ok")
    return secret["nonce"], {"status": worst, "runs": runs, "error": ""}


def run_once(setup: dict[str, Any], data: bytes) -> dict[str, Any]:
    in_read, in_write = os.pipe()
    os.set_inheritable(in_write, False)
    pid, out, err = fork_program(setup, in_read, None)
    os.close(in_read)
    os.set_blocking(in_write, False)
    printed = Drain(out, err, setup["limits"]["output_bytes"])
    feed(in_write, data, printed, pid)
    status = ended(pid, setup, kill=False, drain=printed)
    while printed.open and not printed.full:  # what is left in pipes that a child may hold open
        before = sum(map(len, printed.fds.values()))
        printed.take(0.0)
        if sum(map(len, printed.fds.values())) == before:
            break
    for fd in (out, err):
        os.close(fd)
    text = printed.text(1)
    if printed.full:
        status = "output_limit"
    elif status == "error" and any(sign in text[-300:] for sign in OUT_OF_MEMORY):
        status = "memory"
    return {"status": status, "stdout": printed.text(0), "stderr": text}


def feed(fd: int, data: bytes, printed: Drain, pid: int) -> None:
    """Write standard input while output is read, so that neither side waits for the other."""
    view = memoryview(data)
    while view and not printed.full:
        try:
            _, writable, _ = select.select([], [fd], [], 0.0)
            if writable:
                view = view[os.write(fd, view[:CHUNK]) :]
        except OSError:
            break
        printed.take(0.0 if writable else 0.01)
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
    os.close(fd)
