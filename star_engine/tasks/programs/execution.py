"""Running code that a model or a user wrote: what is asked of a sandbox, and what it says.

The engine knows no sandbox. Whoever drives a run installs a runner with `use_runner`; without one, whatever
needs an execution raises `SandboxFailed`, and nothing is executed in this process, ever.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Status(StrEnum):
    """How an execution ended. Each of these is the program's doing; what is ours raises SandboxFailed."""

    OK = "ok"  # it ran to its end, which says nothing about being right
    ERROR = "error"  # it raised, exited with another status than 0, or was ended by a signal
    TIMEOUT = "timeout"  # of CPU time or wall time
    MEMORY = "memory"
    OUTPUT_LIMIT = "output_limit"
    REFUSED = "refused"  # this runner does not run such programs


class SandboxFailed(RuntimeError):
    """No execution took place, or nobody knows how it ended. Never a verdict: the work is tried again."""


class GraderFailed(SandboxFailed):
    """A grader gave no answer: it is asked again later."""


@dataclass(frozen=True, slots=True)
class Limits:
    """CPU time is what a program may use; wall time is generous, so that load turns no verdict."""

    cpu_s: float = 5.0  # of each run
    wall_s: float = 30.0  # of the whole execution
    memory_mb: int = 256
    processes: int = 4  # of the program, beside the harness
    output_bytes: int = 64 * 1024  # of each run; standard output and standard error each
    disk_mb: int = 16


@dataclass(frozen=True, slots=True)
class Program:
    """Python code and what is done with it: run once for each of `stdins`, or tested, or asked by a call.

    Tests and the arguments of a call are held by another process than the code: the code sees neither the
    tests nor what they compare, and gives plain data (numbers, texts, lists, dicts ...) as answers.
    """

    code: str
    stdins: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()  # statements, each passed or not; they use names that the code defines
    prelude: str = ""  # defined for the tests: imports and helpers that the code cannot replace
    names: tuple[str, ...] = ()  # of the code's functions, even where they are called like a builtin
    call: tuple[str, tuple[Any, ...]] | None = None  # a function of the code, and its arguments: JSON values
    limits: Limits = field(default_factory=Limits)
    url: str | None = None  # of a grader, which is asked the call over HTTPS; then there is no code
    embedded: bool = False  # a calculation, for an interpreter of a subset of Python

    def as_json(self) -> dict[str, Any]:
        known = asdict(self)
        for later in ("url", "embedded"):  # programs are found by the digest of this, those from before too
            if not known[later]:
                del known[later]
        return known

    @property
    def sha256(self) -> str:
        """Equal for programs that do the same under the same limits."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()


def program_from(value: dict[str, Any]) -> Program:
    """The program of `Program.as_json`. TypeError or ValueError where it is none."""
    call = value.get("call")
    return Program(
        code=str(value["code"]),
        stdins=tuple(map(str, value.get("stdins", ()))),
        tests=tuple(map(str, value.get("tests", ()))),
        prelude=str(value.get("prelude", "")),
        names=tuple(map(str, value.get("names", ()))),
        call=None if call is None else (str(call[0]), tuple(call[1])),
        limits=Limits(**value.get("limits", {})),
        url=value.get("url"),
        embedded=bool(value.get("embedded", False)),
    )


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a program with one standard input."""

    status: Status
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of a program. `outputs_sha256` is equal where the code answered every call alike."""

    status: Status
    runs: tuple[Run, ...] = ()
    passed: tuple[bool, ...] = ()  # by test
    value: Any = None  # of the call
    outputs_sha256: str | None = None
    error: str = ""  # the first thing that went wrong, as Python words it
    stdout: str = ""  # what tested or called code printed
    cpu_ms: int = 0
    wall_ms: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def execution_from(value: dict[str, Any]) -> Execution:
    """The execution of `Execution.as_json`. TypeError, KeyError or ValueError where it is none."""
    runs = (Run(Status(one["status"]), str(one["stdout"]), str(one["stderr"])) for one in value["runs"])
    known = {**value, "status": Status(value["status"]), "runs": tuple(runs)}
    return Execution(**{**known, "passed": tuple(map(bool, value["passed"]))})


class CodeRunner(Protocol):
    """A sandbox. It may be asked by several threads at once."""

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        """Execute the programs, several at once; results come in their order. Raises SandboxFailed.

        owner: the project; where several wait, each has its turn.
        """


_installed: CodeRunner | None = None
_lent: tuple[CodeRunner | None] | None = None  # in place of the installed one; None: nothing is


def use_runner(runner: CodeRunner | None) -> None:
    """Let this process execute code through `runner`; None: not at all."""
    global _installed  # noqa: PLW0603 - one per process, as the process has one set of limits
    _installed = runner


@contextmanager
def using_runner(runner: CodeRunner | None) -> Iterator[None]:
    """Execute through this one inside, in all threads. What is installed meanwhile stays so afterwards: a
    worker tries its sandbox out while it is at work already.
    """
    global _lent  # noqa: PLW0603
    before, _lent = _lent, (runner,)
    try:
        yield
    finally:
        _lent = before


def current_runner() -> CodeRunner:
    """The installed runner, or the one in its place. Raises SandboxFailed where there is none."""
    found = _installed if _lent is None else _lent[0]
    if found is None:
        raise SandboxFailed("no sandbox is installed in this process, so no code is executed")
    return found


def has_runner() -> bool:
    return (_installed if _lent is None else _lent[0]) is not None


_held = threading.local()


@contextmanager
def letting_go(lock: threading.Lock) -> Iterator[None]:
    """Let go of a lock that this thread holds while its programs are executed."""
    _held.lock = lock
    try:
        yield
    finally:
        _held.lock = None


def refuse_to_ask(program: Program) -> Execution | None:
    """What a sandbox says of a program that is a question to a grader; None for any other."""
    if program.url is None:
        return None
    return Execution(Status.REFUSED, error="a sandbox asks no grader")


def execute(programs: Sequence[Program]) -> list[Execution]:
    """Execute the programs in the installed runner. Raises SandboxFailed."""
    lock: threading.Lock | None = getattr(_held, "lock", None)
    if lock is None:
        return list(current_runner().run(programs))
    lock.release()
    try:
        return list(current_runner().run(programs))
    finally:
        lock.acquire()
