"""How many tokens a worker has sampled, and how many of its prompts' a prefix cache still had."""

from __future__ import annotations

from dataclasses import dataclass

from star_engine.protocols import Completion


@dataclass(frozen=True, slots=True)
class Sampled:
    """Counts since a process began, or between two moments."""

    tokens: int = 0  # of prompts and completions
    looked_up: int = 0  # of prompts, where the sampler says what its cache had
    cached: int = 0  # of these, those that it had: their keys and values were not computed again

    def __add__(self, other: Sampled) -> Sampled:
        return Sampled(
            self.tokens + other.tokens, self.looked_up + other.looked_up, self.cached + other.cached
        )

    def __sub__(self, other: Sampled) -> Sampled:
        return Sampled(
            self.tokens - other.tokens, self.looked_up - other.looked_up, self.cached - other.cached
        )

    @property
    def cache_hits(self) -> float | None:
        """The share of prompt tokens that the cache had; None where nothing was looked up."""
        return self.cached / self.looked_up if self.looked_up else None


def sampled(completion: Completion) -> Sampled:
    """What one completion counts."""
    tokens = completion.prompt_tokens + completion.tokens
    if completion.cached_tokens is None:
        return Sampled(tokens)
    return Sampled(tokens, completion.prompt_tokens, completion.cached_tokens)
