"""Sandboxes on this machine: a bounded pool of launchers, each of which runs one program at a time."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from star_engine.tasks.programs.execution import (
    Execution,
    Program,
    SandboxFailed,
    Status,
    execution_from,
    refuse_to_ask,
)
from worker.sandbox.turns import Turns

LAUNCHER = Path(__file__).parent / "launcher.py"
COMMAND = (sys.executable, "-I", "-B", str(LAUNCHER))
ATTEMPTS = 2  # of an execution that the sandbox failed at, the second with a new launcher
GRACE_SECONDS = 20.0  # beyond a program's wall time: then the launcher hangs
MAX_ANSWER = 64 << 20


def default_size() -> int:
    """As many programs at once as there are cores, less one that feeds the GPU."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


class LocalRunner:
    """Landlock and seccomp by `sandlock`, in processes that hold nothing of this one.

    `user`: whom launchers run as where this process is root. Launchers end with this process, or by `close`.
    """

    def __init__(
        self, size: int | None = None, *, command: Sequence[str] = COMMAND, user: str | int | None = None
    ) -> None:
        self.size = size or default_size()
        self._command, self._user = tuple(command), user
        self._free: SimpleQueue[_Launcher | None] = SimpleQueue()
        for _ in range(self.size):
            self._free.put(None)  # started when it is first needed
        self._turns = Turns(self.size, "sandbox")

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        """Execute the programs, as many at once as there are launchers. Raises SandboxFailed.

        Where programs of several owners wait, each owner has its turn.
        """
        yield from self._turns.map(owner, self._execute, programs)

    def close(self) -> None:
        self._turns.close()
        for _ in range(self.size):
            if (launcher := self._free.get()) is not None:
                launcher.end()

    def _execute(self, program: Program) -> Execution:
        if (refused := refuse_to_ask(program)) is not None:
            return refused
        why = ""
        for _ in range(ATTEMPTS):
            launcher = self._free.get() or None
            try:
                launcher = launcher or _Launcher(self._command, self._user)
                return launcher.execute(program)
            except SandboxFailed as failure:
                why = str(failure)
                if launcher is not None:
                    launcher.end()
                launcher = None
            finally:
                self._free.put(launcher)
        raise SandboxFailed(why)


class _Launcher:
    """One `launcher.py`: an empty environment, no descriptor but its two pipes, a session of its own."""

    def __init__(self, command: Sequence[str], user: str | int | None) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                user=user,
                group=_group_of(user),
                extra_groups=None if user is None else [],
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError, LookupError) as problem:
            raise SandboxFailed(f"the launcher cannot be started: {problem}") from None

    def execute(self, program: Program) -> Execution:
        data = json.dumps(program.as_json()).encode()
        deadline = time.monotonic() + program.limits.wall_s + GRACE_SECONDS
        asking, answering = self._process.stdin, self._process.stdout
        if asking is None or answering is None:
            raise SandboxFailed("the launcher has no pipes")
        try:
            asking.write(len(data).to_bytes(8, "big") + data)
            asking.flush()
            size = int.from_bytes(_read(answering, 8, deadline), "big")
            found = json.loads(_read(answering, min(size, MAX_ANSWER), deadline))
        except (OSError, ValueError) as problem:
            raise SandboxFailed(f"the launcher gave no answer ({type(problem).__name__})") from None
        return _execution(found)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _group_of(user: str | int | None) -> int | None:
    if user is None:
        return None
    import pwd

    return (pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)).pw_gid


def _execution(found: dict[str, object]) -> Execution:
    if "sandbox_failed" in found:
        raise SandboxFailed(str(found["sandbox_failed"]))
    nothing = Execution(Status.OK).as_json()
    try:
        return execution_from({**nothing, **found})
    except (TypeError, KeyError, ValueError) as problem:
        raise SandboxFailed(f"the launcher's answer cannot be read: {problem}") from None


def _read(pipe: IO[bytes], count: int, deadline: float) -> bytes:
    """Exactly `count` bytes of an unbuffered read. OSError at the end of file and at the deadline."""
    data = b""
    while len(data) < count:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(pipe.fileno(), min(count - len(data), 1 << 20)) if ready else b""
        if not part:
            raise OSError("end of file" if ready else "late")
        data += part
    return data
