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
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from star_engine.protocols import (
    BadAdapter,
    Sampler,
    SampleRequest,
    SamplingParams,
    Scorer,
    ScoreRequest,
    Trainer,
    TrainingJob,
    is_out_of_memory,
)
from worker.gpu.models import Models
from worker.gpu.process import EXIT_OUT_OF_MEMORY, GpuSpec

EXIT_FAILED = 70
JsonObject = dict[str, Any]
Emit = Callable[[JsonObject], None]


@dataclass(slots=True)
class Call:
    """One command, and the messages that arrive while it runs: requests, end, cancel."""

    message: JsonObject
    arrivals: SimpleQueue[JsonObject] = field(default_factory=SimpleQueue)


class Inbox(deque[SampleRequest]):
    """The sampler's queue. Looking at its length takes in what has arrived: requests join a running batch
    between two steps of the sampler, in the sampler's own thread."""

    def __init__(self, arrivals: SimpleQueue[JsonObject]) -> None:
        super().__init__()
        self.ended = False  # by the worker: no more requests, or no more interest
        self._arrivals = arrivals

    def __len__(self) -> int:
        self.look()
        return super().__len__()

    def look(self) -> None:
        while not self._arrivals.empty():
            self._take()

    def wait(self) -> None:
        """Wait until there are requests or the call has ended."""
        while not (len(self) or self.ended):
            self._take()

    def _take(self) -> None:
        message = self._arrivals.get()
        self.ended |= "end" in message or "cancel" in message
        self.extend(map(SampleRequest.from_json, message.get("requests", ())))


def run(models: Models, call: Call, emit: Emit) -> Any:
    """Run the command and return its result; events on the way go to `emit`."""
    message = call.message
    match message["call"]:
        case "use":
            return models.use(_path(message["adapter"]))
        case "count_tokens":
            return models.sampler().count_tokens(message["texts"])
        case "token_ids":
            return models.sampler().token_ids(message["texts"])
        case "training_token_ids":
            return models.trainer().training_token_ids(message["texts"])
        case "stream":
            return stream(models.sampler(), call, emit)
        case "score":
            return score(models.sampler(), call, emit)
        case "train":
            return train(models, call, emit)
        case "probe":
            probe = models.trainer().probe(
                Path(message["adapter"]), message["prompts"], message["max_tokens"]
            )
            return asdict(probe)
        case other:
            raise ValueError(f"The GPU process knows no command {other}.")


def stream(sampler: Sampler, call: Call, emit: Emit) -> None:
    """Sample until the worker ends the call: when the queue is empty, completions that are still on their way
    to the worker may bring more requests back."""
    params = SamplingParams(**call.message["params"] | {"stop": tuple(call.message["params"]["stop"])})
    inbox = Inbox(call.arrivals)
    while not inbox.ended:
        for completion in sampler.stream(inbox, params):
            emit(asdict(completion))
            inbox.look()
            if inbox.ended:
                return
        inbox.wait()


def score(scorer: Scorer, call: Call, emit: Emit) -> None:
    for one in scorer.score([ScoreRequest.from_json(text) for text in call.message["texts"]]):
        emit(asdict(one))
        if not call.arrivals.empty():  # only a cancel can have arrived
            return


def train(models: Models, call: Call, emit: Emit) -> None:
    """Train. Out of memory beside the sampler, train once more without it, from the last resume point."""
    job = TrainingJob.from_json(call.message["job"])
    try:
        _train(models.trainer(), job, call, emit)
    except Exception as error:
        if not (is_out_of_memory(error) and models.make_room()):
            raise
        sys.stdout.write("The sampler makes room for the training: it is loaded again afterwards.\n")
        _train(models.trainer(), job, call, emit)


def _train(trainer: Trainer, job: TrainingJob, call: Call, emit: Emit) -> None:
    for step in trainer.train(job):
        emit(asdict(step))
        if not call.arrivals.empty():  # only a cancel can have arrived
            return


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def answer(models: Models, call: Call, replies: Replies) -> int | None:
    """Run one command and reply. Returns the exit status if this process must end after it."""
    number = call.message["id"]
    times = [time.time()]  # of its begin, then of its events

    def emit(event: JsonObject) -> None:
        times.append(time.time())
        replies.put({"id": number, "event": event})

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
                if "requests" in message or "end" in message or "cancel" in message:
                    call.arrivals.put(message)
                else:
                    call = Call(message)
                    calls.put(call)
    finally:
        os.killpg(0, signal.SIGKILL)


def serve(calls: SimpleQueue[Call], replies: Replies) -> int:
    """Answer commands until told to close. Returns the exit status."""
    spec = calls.get().message["spec"]
    models = Models(GpuSpec(**spec | {"base_model": Path(spec["base_model"])}))
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
