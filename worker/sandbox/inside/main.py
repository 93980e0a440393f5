"""Runs inside the sandbox: holds the tests, and lets a forked child hold the code that is tested.

    launcher --stdin--> harness (tests, nonce) --pipe: calls--> child (the program)
             <-stdout--                        <-pipe: plain data--

The child is forked before tests and nonce are read, so it never has them in its memory; the two processes
cannot read each other's (no ptrace, no /proc, not dumpable). What the child says is parsed as plain data: no
object of the program's own ever takes part in a comparison, so an `__eq__` that always agrees, a patched
builtin or an early exit changes nothing but what the program itself answers.

The files of this folder import nothing but the standard library and each other. The launcher hands them over
as the text of `python -c`, since no file of the project can be read in here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time

from worker.sandbox.inside.confine import deny
from worker.sandbox.inside.frames import read_frame, write_frame
from worker.sandbox.inside.run_tests import test_or_call
from worker.sandbox.inside.scripts import run_scripts

PR_SET_DUMPABLE = 4


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    deny()
    setup = read_frame(0)
    begun = time.monotonic()
    nonce, found = run_scripts(setup) if setup["script"] else test_or_call(setup)
    found["wall_ms"] = int((time.monotonic() - begun) * 1000)
    write_frame(1, {**found, "nonce": nonce})
    os._exit(0)
