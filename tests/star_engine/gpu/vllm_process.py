"""vLLM in a process of its own, started once a session: it binds threads and memory of its process."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from star_engine.gpu.vllm_sampler import VllmSampler
from star_engine.protocols import Completion, SampleRequest, SamplingParams, Score, ScoreRequest

held: list[VllmSampler] = []


def start(model: Path, *, compiled: bool = False, trained_as: Path | None = None) -> None:
    held.append(
        VllmSampler(
            model,
            max_length=400,
            threads=1,
            kv_cache_gib=1,
            enforce_eager=not compiled,
            trained_as=trained_as,
        )
    )


def sample(
    adapter: Path | None,
    requests: Sequence[SampleRequest],
    params: SamplingParams,
    later: Sequence[SampleRequest] = (),
) -> list[Completion]:
    """Completions as they come; with every one that finishes, one of `later` joins."""
    held[0].use(adapter)
    queue, rest = deque(requests), deque(later)
    done = []
    for completion in held[0].stream(queue, params):
        done.append(completion)
        if rest:
            queue.append(rest.popleft())
    return done


def score(adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
    held[0].use(adapter)
    return list(held[0].score(requests))


def leave_a_score_early(requests: Sequence[ScoreRequest]) -> Score:
    scores = held[0].score(requests)
    first = next(iter(scores))
    scores.close()  # type: ignore[attr-defined]
    return first


def leave_early(requests: Sequence[SampleRequest], params: SamplingParams) -> Completion:
    stream = held[0].stream(deque(requests), params)
    first = next(iter(stream))
    stream.close()  # type: ignore[attr-defined]
    return first


def count_tokens(texts: Sequence[str]) -> list[int]:
    return held[0].count_tokens(texts)


def start_with_other_tokenizer(model: Path, folder: Path) -> str:
    """Why a tokenizer that is not the trainer's is refused. (The sampler that is held runs on.)"""
    from star_engine.gpu.causal_lm import load_tokenizer
    from star_engine.gpu.vllm_sampler import _refuse_other_tokenizer

    folder.mkdir()
    for path in model.glob("*token*"):
        text = path.read_text()
        (folder / path.name).write_text(
            text.replace('"0": ', '"zero": ') if path.name == "tokenizer.json" else text
        )
    assert json.loads((folder / "tokenizer.json").read_text())
    try:
        _refuse_other_tokenizer(load_tokenizer(model), load_tokenizer(folder), "tiny")
    except ValueError as problem:
        return str(problem)
    return ""
