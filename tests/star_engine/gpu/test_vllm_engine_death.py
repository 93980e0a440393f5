"""Calls that wait for a vLLM engine fail when its process ends. With vLLM itself: `deaths` of gpu_check."""

from __future__ import annotations

import os
from concurrent.futures import Future
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest

from star_engine.gpu.vllm_engine_death import fail_when_it_dies


def test_what_waits_for_texts_and_for_an_answer_fails_and_what_was_answered_does_not() -> None:
    ended, ends = os.pipe()
    waits, answered = Future[Any](), Future[Any]()
    answered.set_result(7)
    manager = SimpleNamespace(sentinels=lambda: [ended])
    client = SimpleNamespace(
        resources=SimpleNamespace(engine_manager=manager, engine_dead=False),
        outputs_queue=Queue[Any](),
        utility_results={1: answered, 2: waits},
    )
    fail_when_it_dies(client)
    assert client.outputs_queue.empty()
    os.close(ends)
    assert "engine has died" in str(client.outputs_queue.get(timeout=60))
    with pytest.raises(RuntimeError, match="engine has died"):
        waits.result(timeout=60)
    assert (client.resources.engine_dead, answered.result()) == (True, 7)
    os.close(ended)


def test_an_engine_in_this_process_is_not_watched() -> None:
    fail_when_it_dies(SimpleNamespace())
