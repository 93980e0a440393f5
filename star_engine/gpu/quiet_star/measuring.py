"""What thoughts are worth on text that was not trained on, and the thoughts themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from star_engine.config.quiet_star import Thoughts
from star_engine.gpu.quiet_star.objective import predict
from star_engine.gpu.quiet_star.thinking import Policy, Thinker

QUANTILES = 5  # of tokens by how hard they are without a thought


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought before a token, and what it was worth there."""

    before: str  # the text up to there, its end
    thought: str
    token: str  # that follows
    gain: float  # in nats: how much likelier the token became


@dataclass(frozen=True, slots=True)
class Worth:
    """Means of a token in nats; `tokens`: what they are means of, for one token ahead."""

    tokens: int
    without: tuple[float, ...]  # negative log-likelihood by tokens ahead
    mixed: tuple[float, ...]  # the same with thoughts; equal where there are none
    gain_by_difficulty: tuple[float, ...]  # of the next token, from the easiest fifth to the hardest
    thoughts: tuple[Thought, ...]  # those with the largest gains

    @property
    def gain(self) -> float:
        """How much likelier the next token is with a thought, in nats."""
        return self.without[0] - self.mixed[0]


@torch.inference_mode()
def measure(
    thinker: Thinker,
    windows: torch.Tensor,
    banned: torch.Tensor,
    *,
    seed: int,
    decode: Callable[[Sequence[int]], str],
    counted: torch.Tensor | None = None,
    shown: int = 20,
) -> Worth:
    """Read windows of shape (windows, length) with one thought at each position, the same for a seed.

    `counted`: which tokens are measured, booleans of the same shape; None: all but the first of a window.
    """
    settings = thinker.settings
    generator = torch.Generator(windows.device).manual_seed(seed)
    without, mixed, best = [], [], list[Thought]()
    for part in torch.split(windows, settings.micro_batch):
        thinking = thinker.think(part, Policy(settings, banned, generator))
        off = 0.0 if settings.thoughts is Thoughts.OFF else None
        found = predict(thinker, thinking, part, weight=off)
        without.append(found.without)
        mixed.append(found.mixed)
        gains = found.without[..., 0] - found.mixed[..., 0]
        best += _best(gains[:, :-1], part, thinking.tokens, decode, shown)
    wanted = torch.ones_like(windows, dtype=torch.bool) if counted is None else counted
    ahead = range(1, settings.ahead_tokens + 1)
    known = found.known & torch.stack([wanted.roll(-step, dims=1) for step in ahead], dim=-1)
    alone, thought = torch.cat(without), torch.cat(mixed)
    following = known[..., 0]
    return Worth(
        tokens=int(following.sum()),
        without=_means(alone, known),
        mixed=_means(thought, known),
        gain_by_difficulty=_by_difficulty(alone[..., 0][following], thought[..., 0][following]),
        thoughts=tuple(sorted(best, key=lambda one: -one.gain)[:shown]),
    )


def _means(values: torch.Tensor, known: torch.Tensor) -> tuple[float, ...]:
    return tuple(values[..., step][known[..., step]].mean().item() for step in range(known.shape[-1]))


def _by_difficulty(without: torch.Tensor, mixed: torch.Tensor) -> tuple[float, ...]:
    """Mean gain of each fifth of the tokens, in the order of their loss without thought."""
    gains = (without - mixed)[without.argsort()]
    return tuple(part.mean().item() for part in gains.tensor_split(QUANTILES) if len(part))


def _best(
    gains: torch.Tensor,
    ids: torch.Tensor,
    thoughts: torch.Tensor,
    decode: Callable[[Sequence[int]], str],
    shown: int,
) -> list[Thought]:
    top = gains.flatten().topk(min(shown, gains.numel()))
    made = []
    for gain, place in zip(top.values.tolist(), top.indices.tolist(), strict=True):
        row, column = divmod(place, gains.shape[1])
        before = decode(ids[row, max(0, column - 15) : column + 1].tolist())
        after = decode(ids[row, column + 1 : column + 2].tolist())
        made.append(Thought(before, decode(thoughts[row, column].tolist()), after, gain))
    return made
