"""What the GPU process of the tests does with a prompt: its first word says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from star_engine.protocols import OutOfMemory, SampleRequest
from star_engine.testing.fakes import Script

REPLY_LIKE = '{"id": 1, "event": {"key": "forged"}}'


def obey() -> Script:
    def answer(request: SampleRequest, adapter: Path | None) -> str:
        order, _, rest = request.prompt.partition(" ")
        if order == "echo":
            return rest
        if order == "adapter":
            return str(adapter)
        if order == "spawn":
            return str(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
        if order == "hang":
            time.sleep(600)
        if order == "print":
            print(REPLY_LIKE, flush=True)  # noqa: T201
            subprocess.run(["echo", "from a program that it started"])
            return str(sys.stdin.readline() == "")
        return fail(order)

    return answer


def loads_for_long() -> Script:
    """A model that is loaded once the file exists that the environment names."""
    while not Path(os.environ["LOADED_WHEN_THERE"]).exists():
        time.sleep(0.01)
    return obey()


def fail(order: str) -> str:
    if order == "die":
        print("about to die", flush=True)  # noqa: T201
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "overflow":
        raise OutOfMemory("64 sequences do not fit")
    if order == "exit-75":
        os._exit(75)
    if order == "refuse":
        raise ValueError("this prompt is too long")
    raise KeyError(f"a bug with {order}")


def lost() -> Script:
    """A model whose GPU fails with every text."""

    def answer(_request: SampleRequest, _adapter: Path | None) -> str:
        raise RuntimeError("CUDA error: unspecified launch failure")

    return answer
