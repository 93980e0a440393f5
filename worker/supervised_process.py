"""Starts a program that cannot outlive the process that started it.

`start` puts a small supervisor between the two: this file, run as a script. The supervisor holds the read
end of a pipe whose only write end is in the starting process, so the kernel tells it of that process's
death, kill -9 included, and it then stops the program. The program in turn is killed by the kernel if the
supervisor dies (PR_SET_PDEATHSIG). That signal alone would not do: it is sent when the *thread* that forked
ends, and the supervisor has one thread, its callers many.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1  # linux/prctl.h
KILLED_BY_SIGNAL = 128  # what a shell adds to the number of the signal that ended a program


def start(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    output: IO[bytes] | int | None = None,
    user: str | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    grace_s: float = 10,
) -> subprocess.Popen[bytes]:
    """Run `command` under a supervisor, as another `user` if asked (for which the caller must be root).

    The returned process is the supervisor. It ends when the program ends, with its exit status (128 + n
    after signal n). Stop both with `stop`; a SIGTERM to the supervisor does the same.
    """
    options = [f"{stop_signal.value}", f"{grace_s}", user or ""]
    return subprocess.Popen(
        # -I and -S: it needs no site-packages and nothing from the current folder, and starts in 50 ms.
        [sys.executable, "-I", "-S", __file__, *options, *map(str, command)],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        cwd=cwd,
        env=env,
        start_new_session=True,  # Ctrl-C reaches the starting process only, which then stops all in order
    )


def stop(supervisor: subprocess.Popen[bytes]) -> int:
    """Stop the program: the stop signal, and SIGKILL after the grace period. Returns its exit status."""
    if supervisor.stdin is not None:
        supervisor.stdin.close()
    return supervisor.wait()


def _die_with_parent(libc: ctypes.CDLL, parent: int) -> None:
    """Runs in the forked child, before exec and after a change of user, which would clear the setting."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(KILLED_BY_SIGNAL + signal.SIGKILL)


def _user_options(user: str) -> dict[str, object]:
    if not user:
        return {}
    import pwd

    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _supervise(stop_signal: int, grace_s: float, user: str, command: list[str]) -> int:
    stopping_read, stopping_write = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(stopping_write, b"!"))
    supervisor, libc = os.getpid(), ctypes.CDLL(None)
    program = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: _die_with_parent(libc, supervisor),  # noqa: PLW1509  safe: this process has one thread
        **_user_options(user),  # type: ignore[call-overload]
    )
    ended = os.pidfd_open(program.pid)
    ready, _, _ = select.select([sys.stdin, stopping_read, ended], [], [])
    if ended not in ready:
        program.send_signal(stop_signal)
        if not select.select([ended], [], [], grace_s)[0]:
            program.kill()
    status: int = program.wait()
    return status if status >= 0 else KILLED_BY_SIGNAL - status


if __name__ == "__main__":
    sys.exit(_supervise(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:]))
