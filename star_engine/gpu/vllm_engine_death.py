"""Fails the calls to a vLLM engine whose process has died; vLLM's own synchronous client would wait on."""

from __future__ import annotations

from concurrent.futures import InvalidStateError
from contextlib import suppress
from multiprocessing.connection import wait
from threading import Thread
from typing import Any


def fail_when_it_dies(client: Any) -> None:
    """Watch the process of the engine behind an LLM's `engine_core`, until it ends.

    vLLM 0.32 (SyncMPClient of vllm/v1/engine/core_client.py) notices a killed process, marks the engine as
    dead and closes its sockets: later calls fail, but one that waits for texts or for an answer waits for
    ever. Does nothing where the engine has no process of its own.
    """
    resources = getattr(client, "resources", None)
    if resources is None:
        return
    ended = resources.engine_manager.sentinels()
    outputs, answers = client.outputs_queue, client.utility_results  # a thread must not keep the client alive

    def watch() -> None:
        wait(ended)
        resources.engine_dead = True  # first, so that no call begins to wait after those that are failed here
        error = RuntimeError("The process of vLLM's engine has died.")
        outputs.put(error)
        for answer in list(answers.values()):
            with suppress(InvalidStateError):  # answered before it died
                answer.set_exception(error)

    Thread(target=watch, name="vllm-engine-death", daemon=True).start()
