"""Reuses recorded completions: the key of a request, and a plan that looks requests up first.

A request is repeatable if it is decoded greedily or carries a seed. Its key is the SHA-256 over the base
model's files, the adapter's files, the prompt, everything that decoding depends on, and the seed.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Generic, Literal, TypeVar

from star_engine.protocols import Completion, SampleRequest, SamplingParams
from star_engine.sampling.shared_calls import Plan

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recorded:
    """An answer of an earlier generation, its text cut at the first stop, as it was recorded."""

    text: str
    prompt_tokens: int
    tokens: int
    finish_reason: Literal["stop", "length"]


Lookup = Callable[[Sequence[str]], Mapping[str, Recorded]]  # keys to the answers that there are


def model_sha256(base: Mapping[str, str], adapter: Mapping[str, str] | None) -> str | None:
    """What answers: the files of the base model and of the adapter, each name to SHA-256.

    None where the base model's files are not pinned: nobody can say that two of its answers are of one model.
    """
    if not base:
        return None
    return _sha256([sorted(base.items()), None if adapter is None else sorted(adapter.items())])


def request_sha256(model: str | None, request: SampleRequest, params: SamplingParams) -> str | None:
    """Return the key of a request to a model (see model_sha256); None if it must be sampled each time."""
    if model is None or request.regenerate or (params.temperature > 0 and request.seed is None):
        return None
    own = params.of(request)
    decoding: list[object] = [own.max_tokens, own.stop]
    if own.special:
        decoding.append("special")
    if own.without_thoughts:
        decoding.append("without_thoughts")
    if params.temperature > 0:
        decoding += [params.temperature, params.top_p, params.top_k, request.seed]
    return _sha256([model, request.prompt, decoding])


def _sha256(parts: object) -> str:
    return sha256(json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(slots=True)
class ReusingPlan(Generic[T]):
    """A plan whose requests are looked up first: `queue` holds those without a recorded answer.

    Every completion that the plan is given carries its key, and whether it was looked up.
    """

    plan: Plan[T]
    model: str | None  # see model_sha256
    lookup: Lookup
    queue: deque[SampleRequest] = field(default_factory=deque)
    _keys: dict[str, str | None] = field(default_factory=dict)  # of requests on their way

    @property
    def params(self) -> SamplingParams:
        return self.plan.params

    def look_up(self) -> Iterator[T]:
        """Look up the plan's requests: yield its results for recorded answers, queue the rest."""
        while self.plan.queue:
            requests = [self.plan.queue.popleft() for _ in range(len(self.plan.queue))]
            keys = [request_sha256(self.model, request, self.params) for request in requests]
            known = self.lookup(list(dict.fromkeys(key for key in keys if key is not None)))
            for request, key in zip(requests, keys, strict=True):
                found = None if key is None else known.get(key)
                if found is None:
                    self._keys[request.key] = key
                    self.queue.append(request)
                else:
                    yield self.plan.finish(_completion(request, key, found))

    def finish(self, completion: Completion) -> T:
        """Return the plan's results for a sampled completion, and look up its new requests."""
        return self.plan.finish(replace(completion, request_sha256=self._keys.pop(completion.key)))


def _completion(request: SampleRequest, key: str | None, found: Recorded) -> Completion:
    return Completion(
        key=request.key,
        text=found.text,
        prompt_tokens=found.prompt_tokens,
        tokens=found.tokens,
        finish_reason=found.finish_reason,
        request_sha256=key,
        reused=True,
    )
