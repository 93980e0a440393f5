"""Named places at every durability boundary where the fault tests break this process. No-ops unless armed.

    STAR_FAILPOINTS="sample.before_record=kill@2,train.step=delay:5" STAR_FAILPOINTS_FIRED=/some/folder

Each point fires once per folder, whatever the number of processes: the first to make `<folder>/<point>`,
which holds its process id, breaks at the nth time that it comes by (`@n`, 1 if left out).
These variables are no settings of a deployment, so they are the exception to app/settings.py being the only
reader of the environment: read once, at import, with no cost afterwards.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 0.1  # a stopped process wakes inside this sleep and not in the middle of an effect


class FailpointReached(RuntimeError):
    """Raised by the action `raise`."""


@dataclass(frozen=True, slots=True)
class Armed:
    action: str  # kill | kill-worker | stop | raise | enospc | delay:<seconds>
    visit: int  # fires at this visit of a process, counted from 1


def parse(text: str) -> dict[str, Armed]:
    """What the variable says. Raises ValueError for an action that does not exist."""
    armed = {}
    for item in filter(None, text.split(",")):
        name, _, rest = item.partition("=")
        action, _, visit = rest.partition("@")
        if action.partition(":")[0] not in ACTIONS:
            raise ValueError(f"failpoint {name}: no action {action!r}")
        armed[name] = Armed(action, int(visit or 1))
    return armed


def failpoint(name: str) -> None:
    """Does nothing, unless this name is armed and its turn has come."""
    if name in _ARMED:
        _reach(name, _ARMED[name])


def _reach(name: str, armed: Armed) -> None:
    _VISITS[name] += 1
    if _VISITS[name] < armed.visit or not _first(name):
        return
    action, _, argument = armed.action.partition(":")
    ACTIONS[action](argument or name)


def _first(name: str) -> bool:
    try:
        handle = os.open(_FOLDER / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    os.write(handle, str(os.getpid()).encode())
    os.close(handle)
    return True


def _kill(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_worker(_: str) -> None:
    """The Celery parent of this pool child, which dies with it by the kernel's parent-death signal."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def _stop(_: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(STOP_SECONDS)


def _raise(name: str) -> None:
    raise FailpointReached(name)


def _no_space(name: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)


ACTIONS: Mapping[str, Callable[[str], None]] = {
    "kill": _kill,
    "kill-worker": _kill_worker,
    "stop": _stop,
    "raise": _raise,
    "enospc": _no_space,
    "delay": lambda seconds: time.sleep(float(seconds)),
}
_ARMED = parse(os.environ.get("STAR_FAILPOINTS", ""))
_FOLDER = Path(os.environ.get("STAR_FAILPOINTS_FIRED", "."))
_VISITS: Counter[str] = Counter()
