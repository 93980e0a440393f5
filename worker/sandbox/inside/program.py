"""The process that holds the code: forked before anything secret is read."""

from __future__ import annotations

import os
import sys
from typing import Any

from worker.sandbox.inside.confine import limit
from worker.sandbox.inside.frames import read_frame, write_frame
from worker.sandbox.inside.plain_data import pack, unpack


def fork_program(setup: dict[str, Any], stdin: int, channel: tuple[int, int] | None) -> tuple[int, int, int]:
    """Fork the process that holds the code. `channel`: what it answers calls on, else it runs as a script.

    Returns its pid and what can be read of its standard output and error.
    """
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(out_write)
        os.close(err_write)
        return pid, out_read, err_read
    status = 1
    try:
        kept = (20, 21) if channel else ()
        for number, fd in zip((0, 1, 2, *kept), (stdin, out_write, err_write, *(channel or ())), strict=True):
            os.dup2(fd, number, inheritable=True)
        os.closerange(3, 20)
        os.closerange(22 if channel else 20, 256)
        limit(setup["limits"])
        status = serve(setup["code"]) if channel else run_script(setup["code"])
    except BaseException as problem:  # noqa: BLE001
        os.write(2, f"{type(problem).__name__}: {problem}\n".encode(errors="replace")[-2000:])
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:  # noqa: SIM105 - contextlib takes long to import
                stream.flush()
            except BaseException:  # noqa: BLE001, S110
                pass
        os._exit(status)


def run_script(code: str) -> int:
    module = type(sys)("__main__")
    sys.modules["__main__"] = module
    sys.argv = ["program.py"]
    try:
        exec(compile(code, "program.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException as problem:  # noqa: BLE001
        show(problem)
        return 1
    return 0


def show(problem: BaseException) -> None:
    import traceback

    own = problem.__traceback__.tb_next if problem.__traceback__ else None  # without this file's frame
    lines = traceback.format_exception(problem.with_traceback(own))
    sys.stderr.write("".join(lines)[-4000:])


def serve(code: str) -> int:
    """Load the code, then answer calls on the channel with plain data."""
    module = type(sys)("program")
    sys.modules["program"] = module
    objects: list[Any] = [module]

    def keep(value: Any) -> int:
        objects.append(value)
        return len(objects) - 1

    try:
        exec(compile(code, "program.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102
        names = {name: callable(value) for name, value in vars(module).items()}
        write_frame(21, {"loaded": names})
    except BaseException as problem:  # noqa: BLE001
        write_frame(21, {"raised": said(problem)})
        return 1
    while True:
        try:
            asked = read_frame(20)
        except EOFError:
            return 0
        try:
            of_object = objects.__getitem__
            target = objects[asked["of"]]
            if asked["name"] is not None:
                target = getattr(target, asked["name"])
            if "args" not in asked:
                answer = {"value": ["o", keep(target)] if callable(target) else pack(target, keep)}
            else:
                args = unpack(asked["args"], of_object)
                value = target(*args, **unpack(asked["kwargs"], of_object))
                answer = {"value": pack(value, keep), "args": pack(args, keep)}
        except BaseException as problem:  # noqa: BLE001
            answer = {"raised": said(problem)}
        write_frame(21, answer)


def said(problem: BaseException) -> list[str]:
    text = f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
    return [type(problem).__name__, text[:500]]
