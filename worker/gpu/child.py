"""The GPU process: holds the sampler and the trainer, obeys the worker that started it, dies with it.

Started by worker/gpu/pipe.py, which says how the two talk. Descriptors: commands on 0, replies on the one
that the argument names; stdout and stderr are the log: nothing a library prints can be taken for a reply.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from star_engine.protocols import (
    BadAdapter,
    is_out_of_memory,
)
from worker.gpu.calls import Call, JsonObject, run
from worker.gpu.models import Models
from worker.gpu.process import EXIT_OUT_OF_MEMORY, GpuSpec

EXIT_FAILED = 70


def answer(models: Models, call: Call, replies: Replies) -> int | None:
    """Run one command and reply. Returns the exit status if this process must end after it."""
    number = call.message["id"]
    times = [time.time()]  # of its begin, then of its events

    def emit(event: JsonObject) -> None:
        times.append(time.time())
        replies.put({"id": number, "event": event})

    models.loads = lambda begins: replies.put({"id": number, "loads": begins})
    try:
        done = run(models, call, emit)
    except Exception as error:  # noqa: BLE001 - the boundary: the worker is told, whatever it was
        kind, status = classify(error)
        traceback.print_exc()
        replies.put({"id": number, "error": {"kind": kind, "message": str(error) or type(error).__name__}})
        return status
    replies.put({"id": number, "done": done})
    _log_call(call.message["call"], times)
    return None


def _log_call(name: str, times: Sequence[float]) -> None:
    """Log when each command began, gave its first and last event, and ended."""
    moments = {"began": times[0], "ended": time.time()}
    if len(times) > 1:
        moments |= {"first": times[1], "last": times[-1]}
    rounded = {moment: round(at, 3) for moment, at in moments.items()}
    line = {"event": "gpu_call", "call": name, "events": len(times) - 1, **rounded}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def classify(error: Exception) -> tuple[str, int | None]:
    """What the worker raises, and with which status this process ends; None where models are as they were."""
    if isinstance(error, BadAdapter):
        return "BadAdapter", None
    if isinstance(error, ValueError):
        return "ValueError", None
    if is_out_of_memory(error):
        return "OutOfMemory", EXIT_OUT_OF_MEMORY
    return "GpuFailed", EXIT_FAILED


class Replies:
    """Sends replies from its own thread, so that a worker busy recording never delays the GPU. Replies that
    pile up are sent in one write.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: SimpleQueue[bytes] = SimpleQueue()
        self._thread = Thread(target=self._send, name="replies", daemon=True)
        self._thread.start()

    def put(self, message: JsonObject) -> None:
        self._waiting.put(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """Return when everything is sent."""
        self._waiting.put(b"")
        self._thread.join()

    def _send(self) -> None:
        try:
            while data := self._waiting.get():
                last = False
                while not (last or self._waiting.empty()):
                    more = self._waiting.get()
                    data, last = data + more, not more
                while data:
                    data = data[os.write(self._descriptor, data) :]
                if last:
                    return
        except BrokenPipeError:  # nobody reads
            os.killpg(0, signal.SIGKILL)


def read_commands(descriptor: int, calls: SimpleQueue[Call]) -> None:
    """Hand commands on until the worker is gone; then end everything that it started here."""
    call = Call({})
    try:
        with os.fdopen(descriptor, "rb") as pipe:
            for line in pipe:
                message = json.loads(line)
                if "requests" in message or "dropped" in message or "end" in message or "cancel" in message:
                    call.arrivals.put(message)
                else:
                    call = Call(message)
                    calls.put(call)
    finally:
        os.killpg(0, signal.SIGKILL)


def serve(calls: SimpleQueue[Call], replies: Replies) -> int:
    """Answer commands until told to close. Returns the exit status."""
    spec = calls.get().message["spec"]
    models = Models(GpuSpec.from_json(spec))
    while (call := calls.get()).message["call"] != "close":
        status = answer(models, call, replies)
        if status is not None:
            return status
    models.close()
    return 0


def import_ahead() -> None:
    """Import vLLM and the trainer before there is a job: more than half of a cold start."""
    # vllm itself imports nothing before it is asked; this is the module that its LLM lies in.
    engine = "star_engine.gpu"
    for module in ("vllm.entrypoints.llm", f"{engine}.vllm_sampler", f"{engine}.training.lora_trainer"):
        importlib.import_module(module)


def main() -> None:
    if os.getpgrp() != os.getpid():
        sys.exit(
            "worker.gpu.child kills its process group when it ends: it must be started by worker.gpu.process."
        )
    *options, descriptor = sys.argv[1:]
    replies_descriptor = int(descriptor)
    # Nothing that this process starts may hold a pipe: a left-over engine would hide its end from the worker.
    os.set_inheritable(replies_descriptor, False)
    commands_descriptor = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    calls: SimpleQueue[Call] = SimpleQueue()
    Thread(target=read_commands, args=(commands_descriptor, calls), name="death-pipe", daemon=True).start()
    faulthandler.enable()
    with suppress(OSError):  # short of memory, the kernel should take this process and not the worker
        Path("/proc/self/oom_score_adj").write_text("500")
    replies = Replies(replies_descriptor)
    status = EXIT_FAILED
    try:
        if "--import" in options:
            import_ahead()
        status = serve(calls, replies)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        replies.close()
        sys.stdout.flush()
        os._exit(status)  # not sys.exit: threads of vLLM and torch can hold up an orderly end


if __name__ == "__main__":
    main()
