"""Texts for those who talk to a model, through the pipe of the GPU process."""

from __future__ import annotations

from collections import deque
from itertools import groupby

import pytest

from star_engine.protocols import SamplingParams
from star_engine.testing.writer import ScriptedWriter
from star_engine.writing import Piece, WriteRequest
from tests.worker.gpu_scripts import obey
from tests.worker.gpus import sample
from worker.gpu.process import GpuProcess


def texts(count: int) -> list[WriteRequest]:
    params = SamplingParams(max_tokens=20)
    return [
        WriteRequest(f"{n}", f"echo {'word ' * n}end", params, stream=True, logprobs=1) for n in range(count)
    ]


def by_key(pieces: list[Piece]) -> dict[str, list[Piece]]:
    ordered = sorted(pieces, key=lambda piece: int(piece.key))
    return {key: list(own) for key, own in groupby(ordered, key=lambda piece: piece.key)}


def test_pieces_are_those_of_the_writer_in_the_child(gpu: GpuProcess) -> None:
    expected = list(ScriptedWriter(obey()).write(deque(texts(100)), set()))
    assert by_key(list(gpu.write(deque(texts(100)), set()))) == by_key(expected)
    assert sample(gpu, "echo still here") == ["still here"]


def test_text_that_comes_while_others_are_written_joins_them(gpu: GpuProcess) -> None:
    first, *later = texts(3)
    queue = deque([first])
    keys = []
    for piece in gpu.write(queue, set()):
        keys.append(piece.key)
        while later:
            queue.append(later.pop())
    assert set(keys) == {"0", "1", "2"}


def test_text_that_is_dropped_says_no_more_and_does_not_hold_up_the_call(gpu: GpuProcess) -> None:
    dropped: set[str] = set()
    seen = []
    for piece in gpu.write(deque(texts(20)[18:]), dropped):
        seen.append(piece)
        if piece.key == "18":
            dropped.add("18")
    assert by_key(seen)["19"][-1].ends
    assert not by_key(seen)["18"][-1].ends


def test_conversation_is_rendered_by_the_model(gpu: GpuProcess) -> None:
    request = WriteRequest("0", ({"role": "user", "content": "Hi"},), SamplingParams(max_tokens=0), echo=True)
    pieces = list(gpu.write(deque([request]), set()))
    assert "".join(piece.text for piece in pieces) == "user: Hi\nassistant:"


@pytest.mark.parametrize("logprobs", [None, 2])
def test_scores_come_where_they_are_asked_for(gpu: GpuProcess, logprobs: int | None) -> None:
    request = WriteRequest("0", "echo one", SamplingParams(max_tokens=5), logprobs=logprobs, echo=True)
    pieces = list(gpu.write(deque([request]), set()))
    assert "".join(piece.text for piece in pieces).startswith("echo one")
    assert any(piece.scores for piece in pieces) == (logprobs is not None)
