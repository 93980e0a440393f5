"""What a model has answered before is not asked again: the key of a request, and a sampler that looks it up.

A request is repeatable if it is decoded greedily or carries a seed. Its key is the SHA-256 over the base
model's files, the adapter's files, the prompt, everything that decoding depends on, and the seed.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from star_engine.protocols import Completion, Sampler, SampleRequest, SamplingParams


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
    """The key of a request to a model (see model_sha256); None where it would be answered anew each time."""
    if model is None or (params.temperature > 0 and request.seed is None):
        return None
    decoding: list[object] = [params.max_tokens, params.stop]
    if params.temperature > 0:
        decoding += [params.temperature, params.top_p, params.top_k, request.seed]
    return _sha256([model, request.prompt, decoding])


def _sha256(parts: object) -> str:
    return sha256(json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(slots=True)
class ReusingSampler:
    """A Sampler that answers from the record where it can and from another sampler where it must.

    Every completion carries its key, and whether it was looked up. `opened` is called once, with the first
    request that nobody has answered: where all have been answered, no model is loaded.
    """

    model: str | None  # see model_sha256
    lookup: Lookup
    opened: Callable[[], Sampler]
    _keys: dict[str, str | None] = field(default_factory=dict)  # of requests on their way
    _behind: Sampler | None = None

    def behind(self) -> Sampler:
        """The sampler that is asked where nothing is on record."""
        if self._behind is None:
            self._behind = self.opened()
        return self._behind

    def use(self, adapter: Path | None) -> None:
        """The adapter is part of `model`, so it never changes."""
        raise NotImplementedError("make another ReusingSampler for another adapter")

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.behind().count_tokens(texts)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return self.behind().token_ids(texts)

    def close(self) -> None:
        self._keys.clear()

    def stream(self, queue: deque[SampleRequest], params: SamplingParams) -> Iterator[Completion]:
        """See Sampler. Yields what is on record first; what the caller appends is looked up in its turn."""
        missing: deque[SampleRequest] = deque()
        yield from self._on_record(queue, missing, params)
        if not missing:
            return
        for completion in self.behind().stream(missing, params):
            yield replace(completion, request_sha256=self._keys.pop(completion.key))
            yield from self._on_record(queue, missing, params)

    def _on_record(
        self, queue: deque[SampleRequest], missing: deque[SampleRequest], params: SamplingParams
    ) -> Iterator[Completion]:
        """Empty the queue: yield what has been answered before, put the rest into `missing`."""
        while queue:
            requests = [queue.popleft() for _ in range(len(queue))]
            keys = [request_sha256(self.model, request, params) for request in requests]
            known = self.lookup(list(dict.fromkeys(key for key in keys if key is not None)))
            for request, key in zip(requests, keys, strict=True):
                found = None if key is None else known.get(key)
                if found is None:
                    self._keys[request.key] = key
                    missing.append(request)
                else:
                    yield _completion(request, key, found)


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
