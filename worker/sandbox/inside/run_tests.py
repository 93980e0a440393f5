"""Holds the tests, and asks the code through a channel."""

from __future__ import annotations

import _ast
import _thread
import builtins
import json
import os
from typing import Any

from worker.sandbox.inside.channel import Channel, Ended, Remote
from worker.sandbox.inside.frames import read_frame
from worker.sandbox.inside.output import OUT_OF_MEMORY, Drain, ended
from worker.sandbox.inside.plain_data import unpack
from worker.sandbox.inside.program import fork_program, said

ONLY_AST = 0x400  # PyCF_ONLY_AST


def same(left: Any, right: Any) -> bool:
    """Equal; but a list equals a tuple, and numbers need agree to nine digits only. For published cases."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        by_text = {str(key): value for key, value in left.items()}
        return by_text.keys() == set(map(str, right)) and all(
            same(by_text[str(key)], value) for key, value in right.items()
        )
    if type(left) is float or type(right) is float:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        close = numbers and abs(left - right) <= 1e-9 * max(abs(left), abs(right))
        return bool(numbers and (left == right or close))
    return type(left) is type(right) and bool(left == right)


def names_in(node: Any) -> set[str]:
    """Names that a syntax tree uses: as `ast.walk` would find them, whose module takes long to import."""
    found = {node.id} if isinstance(node, _ast.Name) else set()
    for field in node._fields:
        value = getattr(node, field, None)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, _ast.AST):
                found |= names_in(one)
    return found


def run_tests(secret: dict[str, Any], channel: Channel, loaded: dict[str, bool]) -> tuple[list[bool], str]:
    """Each test passed or not, and what the first failure said."""
    names: dict[str, Any] = {"__name__": "tests", "same": same}
    error = ""
    exec(compile(secret["prelude"], "prelude.py", "exec", dont_inherit=True), names)  # noqa: S102
    used = set(secret["names"])
    for test in secret["tests"]:
        used |= names_in(compile(test, "tests.py", "exec", ONLY_AST, dont_inherit=True))
    for name in used:
        unknown = name not in names and not hasattr(builtins, name)
        if name in loaded and (unknown or name in secret["names"]):
            names[name] = program_value(channel, name, callable_=loaded[name])
    passed = []
    for test in secret["tests"]:
        try:
            exec(compile(test, "tests.py", "exec", dont_inherit=True), names)  # noqa: S102
            passed.append(True)
        except Ended:
            raise
        except BaseException as problem:  # noqa: BLE001
            passed.append(False)
            error = error or said(problem)[1]
    return passed, error


def program_value(channel: Channel, name: str, *, callable_: bool) -> Any:
    if callable_:
        return Remote(channel, 0, name)
    answer = channel.ask({"of": 0, "name": name})
    return unpack(answer["value"], lambda number: Remote(channel, number))


def test_or_call(setup: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Fork the program, and only then read what it must not know."""
    to_child, asking = os.pipe()
    answering, from_child = os.pipe()
    pid, out, err = fork_program_with(setup, to_child, from_child, asking, answering)
    secret = read_frame(0)
    channel = Channel(asking, answering)
    found: dict[str, Any] = {"status": "ok", "error": ""}
    printed = Drain(out, err, setup["limits"]["output_bytes"])
    _thread.start_new_thread(printed.follow, (pid,))
    try:
        loaded = channel.unless_raised(channel.answer())["loaded"]
        if secret["call"] is not None:
            name, arguments = secret["call"]
            found["value"] = Remote(channel, 0, name)(*arguments)
            json.dumps(found["value"])
        else:
            found["passed"], found["error"] = run_tests(secret, channel, loaded)
        found["outputs_sha256"] = channel.digest.hexdigest()
    except (Ended, KeyError):
        found["status"] = "ended"
    except Exception as problem:  # noqa: BLE001
        found["status"], found["error"] = "error", said(problem)[1]
    os.close(asking)
    by_us = found["status"] != "ended"
    status = ended(pid, setup, kill=by_us, drain=printed)
    found["stdout"] = printed.text(0)
    if found["status"] == "ended":
        found["status"] = "output_limit" if printed.full else "error" if status == "ok" else status
        found["error"] = printed.text(1)[-500:] or "the program ended before it had answered"
    if any(sign in found["error"] for sign in OUT_OF_MEMORY):
        found["status"] = "memory"
    return secret["nonce"], found


def fork_program_with(
    setup: dict[str, Any], to_child: int, from_child: int, asking: int, answering: int
) -> tuple[int, int, int]:
    """The child's ends closed here, ours closed there: an end of file must reach both."""
    devnull = os.open("/dev/null", os.O_RDONLY)
    for fd in (asking, answering):
        os.set_inheritable(fd, False)
    forked = fork_program(setup, devnull, (to_child, from_child))
    for fd in (devnull, to_child, from_child):
        os.close(fd)
    return forked
