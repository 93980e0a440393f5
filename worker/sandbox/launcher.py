"""The process that starts sandboxes: one program after the other, asked and answered in frames.

Started by `worker.sandbox.local` with an empty environment and no descriptors but two pipes, so that it has
no secret to lose; what it starts is confined further. It gives up every capability first, because a sandbox
that is started by root would otherwise keep them. Whatever a program leaves behind is its child (it is a
subreaper) and is killed before the next one begins.
"""

from __future__ import annotations

import ctypes
import json
import marshal
import os
import resource
import secrets
import select
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from sandlock import BranchAction, ExitReason, Sandbox, StdioMode

INSIDE = Path(__file__).parent / "inside"
MODULES = (  # of the harness, each behind those that it imports
    *("plain_data", "frames", "confine", "output"),
    *("program", "channel", "run_tests", "scripts", "main"),
)
PYTHON = os.path.realpath(sys.executable)
LAST_CAPABILITY = 63  # more than any kernel has; an unknown one is an error that means nothing
ANSWER_BYTES = 8 << 20  # of a harness: 50 runs with 64 KiB each of both outputs, escaped
HARNESS_MB = 96  # what the harness itself may need, beside the program
HARNESS_PROCESSES = 2
MAX_FRAME = 64 << 20
PR_SET_PDEATHSIG, PR_SET_SECUREBITS, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 1, 28, 24, 36
NO_ROOT_LOCKED = 0b1111  # a process of uid 0 that executes a program gets no capabilities back
DENIED = (  # beside what sandlock denies; setsid, setpgid and kill it handles itself
    *("memfd_create", "memfd_secret", "mlock", "mlock2", "mlockall"),
    *("inotify_init", "inotify_init1", "fanotify_init"),
    *("process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"),
)


def harness_source() -> str:
    """The text of `python -c`: the harness's modules, of which no program finds one to import.

    They are compiled here, and without `typing`, which nothing but annotations wants: a third of the 35 ms
    that an execution began with.
    """
    codes = {}
    for name in MODULES:
        source = (INSIDE / f"{name}.py").read_text().replace("from typing import Any\n", "")
        called = f"worker.sandbox.inside.{name}"
        codes[called] = compile(source, called, "exec", dont_inherit=True)
    packed = marshal.dumps(codes).hex()
    return f"""
import marshal, sys
codes = marshal.loads(bytes.fromhex({packed!r}))
for name, code in codes.items():
    module = sys.modules[name] = type(sys)(name)
    exec(code, module.__dict__)
for name in codes:
    del sys.modules[name]
module.main()
"""


HARNESS = harness_source()


def readable() -> list[str]:
    """Python's own files and the libraries that it links; no site-packages, no /proc, no /etc."""
    found = [PYTHON, sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    libraries = sysconfig.get_config_var("LIBDIR")
    if isinstance(libraries, str):
        found += [str(path) for path in Path(libraries).glob("libpython*.so*")]
    found += ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/urandom"]
    return [path for path in dict.fromkeys(found) if Path(path).exists()]


def give_up_privileges() -> None:
    """No capability, in any set, for this process and all that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_SECUREBITS, NO_ROOT_LOCKED, 0, 0, 0)
    for capability in range(LAST_CAPABILITY):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # linux/capability.h, version 3
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capabilities could not be given up")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def execute(program: dict[str, Any]) -> dict[str, Any]:
    """The execution as JSON, or {"sandbox_failed": why}."""
    begun, before = time.monotonic(), _cpu()
    folder = tempfile.mkdtemp(prefix="star-run-")
    try:
        found = _run(program, folder, begun + program["limits"]["wall_s"])
    except Exception as problem:  # noqa: BLE001 - whatever it is, no execution is known to have taken place
        found = {"sandbox_failed": f"{type(problem).__name__}: {problem}"[:500]}
    finally:
        _kill_what_is_left()
        shutil.rmtree(folder, ignore_errors=True)
    found["cpu_ms"] = int((_cpu() - before) * 1000)
    found["wall_ms"] = int((time.monotonic() - begun) * 1000)
    return found


def _run(program: dict[str, Any], folder: str, deadline: float) -> dict[str, Any]:
    limits, nonce = program["limits"], secrets.token_hex(16)
    script = not program["tests"] and program["call"] is None
    setup = {"code": program["code"], "stdins": program["stdins"], "limits": limits, "script": script}
    secret = {key: program[key] for key in ("tests", "prelude", "names", "call")} | {"nonce": nonce}
    with _sandbox(limits, folder).popen(
        [PYTHON, "-I", "-S", "-B", "-c", HARNESS], StdioMode.PIPED, StdioMode.PIPED, StdioMode.PIPED
    ) as harness:
        sent = _frame(setup) + _frame(secret)
        answer, complaint, late = _converse(harness, sent, deadline)
        if late:
            harness.kill()
        result = harness.wait(5)
    found = _answer(answer, nonce)
    if found is not None:
        return found
    if late:
        return {"status": "timeout", "error": f"stopped after {limits['wall_s']:g} s"}
    if result.reason is ExitReason.KILLED:  # by the sandbox, which kills for nothing but memory
        return {"status": "memory", "error": f"more than {limits['memory_mb']} MB"}
    if result.reason is ExitReason.SIGNALED and result.signal == signal.SIGKILL:
        return {"status": "error", "error": "the program ended its own tests"}
    detail = complaint.decode(errors="replace").strip()[-300:]
    return {"sandbox_failed": f"no answer: {result.reason!r}, {result.exit_code}, {result.error}: {detail}"}


def _sandbox(limits: dict[str, Any], folder: str) -> Sandbox:
    return Sandbox(
        fs_readable=readable(),
        fs_writable=[folder],
        workdir=folder,  # every write goes to a layer of its own, with a quota, and is thrown away
        max_disk=f"{limits['disk_mb']}M",
        on_exit=BranchAction.ABORT,
        on_error=BranchAction.ABORT,
        cwd=folder,
        clean_env=True,
        env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "HOME": folder, "TMPDIR": folder},
        max_memory=f"{limits['memory_mb'] + HARNESS_MB}M",
        max_processes=limits["processes"] + HARNESS_PROCESSES,
        max_open_files=256,
        no_coredump=True,
        extra_deny_syscalls=DENIED,
    )


def _converse(harness: Any, sent: bytes, deadline: float) -> tuple[bytes, bytes, bool]:
    """Write all of `sent` and read both outputs to their ends, or to the deadline (then True)."""
    into, out, err = harness.stdin.fileno(), harness.stdout.fileno(), harness.stderr.fileno()
    os.set_blocking(into, False)
    got = {out: bytearray(), err: bytearray()}
    view, open_ = memoryview(sent), {out, err}
    while out in open_:
        left = deadline - time.monotonic()
        if left <= 0 or len(got[out]) > ANSWER_BYTES:
            return bytes(got[out]), bytes(got[err]), True
        ready, writable, _ = select.select(list(open_), [into] if view else [], [], left)
        if writable:
            view = _write_some(harness, into, view)
        for fd in ready:
            part = os.read(fd, 1 << 16)
            if not part:
                open_.discard(fd)
            elif fd == out or len(got[err]) < 1 << 16:
                got[fd] += part
    return bytes(got[out]), bytes(got[err]), False


def _write_some(harness: Any, into: int, view: memoryview) -> memoryview:
    try:
        view = view[os.write(into, view[: 1 << 16]) :]
    except BlockingIOError:
        return view
    except BrokenPipeError:
        view = view[len(view) :]
    return view


def _answer(said: bytes, nonce: str) -> dict[str, Any] | None:
    """The harness's answer, if this is one: it knows the nonce, which no program was told."""
    try:
        found = json.loads(said[8:])
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.pop("nonce", None) != nonce:
        return None
    return found


def _kill_what_is_left() -> None:
    """This process starts nothing else, so every child that it still has was a program's."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for _ in range(100):
        pids = [int(pid) for pid in children.read_text().split()]
        if not pids:
            return
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _frame(value: Any) -> bytes:
    data = json.dumps(value).encode()
    return len(data).to_bytes(8, "big") + data


def _read_exactly(count: int) -> bytes:
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        sys.exit(0)  # whoever started this is gone
    return data


def main() -> None:
    give_up_privileges()
    answers = sys.stdout.buffer
    while True:
        size = int.from_bytes(_read_exactly(8), "big")
        answers.write(_frame(execute(json.loads(_read_exactly(size)))))
        answers.flush()


if __name__ == "__main__":
    main()
