"""Whether a sandbox confines what it runs: asked at start, before any program of a job.

Each of these programs says ESCAPED where it could do what it tries, and each must end as it says here. One
that does not is reason enough to take no job that executes code: there is no other way to run one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from star_engine.tasks.programs.execution import CodeRunner, Execution, Limits, Program, SandboxFailed, Status

ESCAPED = "ESCAPED"
LIMITS = Limits(cpu_s=1, wall_s=20, memory_mb=128, output_bytes=4096)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a program tries, and how it must end; None: however, as long as it has not escaped."""

    tries: str
    code: str
    status: Status | None = None
    stdin: str = ""


_READ = """
import sys
for path in sys.stdin.read().split("\\n"):
    try:
        with open(path, "rb") as file:
            print("ESCAPED", path, len(file.read(1)))
    except OSError:
        pass
"""
_CONNECT = """
import errno, socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        one = socket.socket(socket.AF_INET, kind)
        one.settimeout(2)
        one.connect(("127.0.0.1", 9))
        one.send(b"x")
        print("ESCAPED")
    except OSError as problem:
        if problem.errno in (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.ENETUNREACH):
            print("ESCAPED", problem)
"""
_FORK = """
import os, time
for number in range(60):
    if os.fork() == 0:
        time.sleep(5)
        os._exit(0)
print("ESCAPED")
"""
_SIGNAL = """
import os
own = (os.getpid(), os.getppid())
for pid in (1, 2, *range(max(3, own[0] - 300), own[0] + 5)):
    if pid not in own:
        try:
            os.kill(pid, 0)
            print("ESCAPED", pid)
        except OSError:
            pass
"""
_WRITE = """
import sys
for path in sys.stdin.read().split("\\n"):
    try:
        with open(path, "w") as file:
            file.write("x")
        print("ESCAPED", path)
    except OSError:
        pass
"""
_GPU = """
import os
for path in ("nvidiactl", "nvidia0", "nvidia-uvm", "dri/renderD128", "kfd", "kvm"):
    try:
        os.open(f"/dev/{path}", os.O_RDONLY)
        print("ESCAPED", path)
    except OSError:
        pass
"""
ATTEMPTS = (
    Attempt("connect", _CONNECT),
    Attempt("fork without end", _FORK),
    Attempt("take memory without end", "x = bytearray(1 << 31)\nprint('ESCAPED')", Status.MEMORY),
    Attempt("signal another process", _SIGNAL),
    Attempt("loop without end", "while True:\n    pass", Status.TIMEOUT),
    Attempt("print without end", "while True:\n    print('x' * 1000)", Status.OUTPUT_LIMIT),
    Attempt("open a GPU", _GPU),
)
RIGHT = Program("def double(x):\n    return 2 * x", tests=("assert double(21) == 42",), limits=LIMITS)
_WRONG = Program(
    "import os\ndef double(x):\n    os._exit(0)", tests=("assert double(21) == 42",), limits=LIMITS
)


def probe(runner: CodeRunner) -> str | None:
    """None where the runner confines programs and runs a right one; else what went wrong, in a sentence."""
    with tempfile.TemporaryDirectory(prefix="star-probe-") as folder:
        secret = Path(folder) / "secret"
        secret.write_text("secret")
        secret.chmod(0o644)
        Path(folder).chmod(0o777)
        files = ["/etc/passwd", "/etc/shadow", "/proc/self/environ", "/proc/1/environ", str(secret)]
        outside = [str(Path(folder) / "written"), str(secret), "/tmp/star-probe", "/var/tmp/star-probe"]  # noqa: S108
        attempts = (
            *ATTEMPTS,
            Attempt("read a file that is not its own", _READ, stdin="\n".join(files)),
            Attempt("write outside of its folder", _WRITE, stdin="\n".join(outside)),
        )
        programs = [Program(one.code, (one.stdin,), limits=LIMITS) for one in attempts]
        try:
            *found, right, wrong = runner.run([*programs, RIGHT, _WRONG])
        except SandboxFailed as failure:
            return f"The sandbox cannot be started: {failure}."
        if right.status is not Status.OK or right.passed != (True,):
            return f"The sandbox does not run a right program ({right.status}: {right.error})."
        if wrong.status is Status.OK:
            return "The sandbox takes a program that ends its own tests for a right one."
        return next(_escapes(attempts, found), None)


def _escapes(attempts: tuple[Attempt, ...], found: list[Execution]) -> Iterator[str]:
    for attempt, execution in zip(attempts, found, strict=True):
        said = "".join(run.stdout for run in execution.runs)
        if ESCAPED in said:
            yield f"A program in the sandbox could {attempt.tries} ({said.strip()[:100]})."
        elif attempt.status not in (None, execution.status):
            yield (
                f"A program in the sandbox that tried to {attempt.tries} ended with the status "
                f"{execution.status}, not {attempt.status}."
            )
