"""What thoughts are worth on text that was not trained on, and the thoughts themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from star_engine.config.quiet_star import Thoughts
from star_engine.gpu.quiet_star.objective import predict
from star_engine.gpu.quiet_star.thinking import Policy, Thinker
from star_engine.thoughts import Thought, Worth

SHOWN_BEFORE = 15  # tokens of the text before a thought that are shown with it
QUANTILES = 5  # of tokens by how hard they are without a thought


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
    """See `measuring`; what it finds at last."""
    *_, worth = measuring(thinker, windows, banned, seed=seed, decode=decode, counted=counted, shown=shown)
    if not isinstance(worth, Worth):
        raise TypeError("a measurement ends with what it found")
    return worth


@torch.inference_mode()
def measuring(
    thinker: Thinker,
    windows: torch.Tensor,
    banned: torch.Tensor,
    *,
    seed: int,
    decode: Callable[[Sequence[int]], str],
    counted: torch.Tensor | None = None,
    shown: int = 20,
    drawn: int = 0,
) -> Iterator[tuple[int, int] | Worth]:
    """Read windows of shape (windows, length) with one thought at each position, the same for a seed.

    `counted`: which tokens are measured, booleans of the same shape; None: all but the first of a window.
    `shown`: thoughts with the largest gains that are kept; `drawn`: others, drawn evenly from all positions.
    Yields how many windows are done, of how many, and at last what was found.
    """
    settings = thinker.settings
    generator = torch.Generator(windows.device).manual_seed(seed)
    places = _drawn(len(windows), windows.shape[1] - 1, drawn, seed)
    without, mixed, best, others = [], [], list[Thought](), list[Thought]()
    weight, done = 0.0, 0
    for part in torch.split(windows, settings.micro_batch):
        thinking = thinker.think(part, Policy(settings, banned, generator))
        off = 0.0 if settings.thoughts is Thoughts.OFF else None
        found = predict(thinker, thinking, part, weight=off)
        without.append(found.without)
        mixed.append(found.mixed)
        weight += (found.weight[..., 0] * found.known[..., 0]).sum().item()
        gains = (found.without[..., 0] - found.mixed[..., 0])[:, :-1]
        shows = _Shows(part, gains, found.without[:, :-1, 0], thinking.tokens, decode)
        best += shows.best(shown)
        others += [shows.at(row - done, at) for row, at in places if done <= row < done + len(part)]
        done += len(part)
        yield done, len(windows)
    wanted = torch.ones_like(windows, dtype=torch.bool) if counted is None else counted
    ahead = range(1, settings.ahead_tokens + 1)
    known = found.known & torch.stack([wanted.roll(-step, dims=1) for step in ahead], dim=-1)
    alone, thought = torch.cat(without), torch.cat(mixed)
    following = known[..., 0]
    yield Worth(
        tokens=int(following.sum()),
        without=_means(alone, known),
        mixed=_means(thought, known),
        gain_by_difficulty=_by_difficulty(alone[..., 0][following], thought[..., 0][following]),
        without_by_difficulty=_fifths(alone[..., 0][following].sort().values),
        thoughts=(*sorted(best, key=lambda one: -one.gain)[:shown], *others),
        windows=len(windows),
        weight=weight / max(1, windows.numel() - len(windows)),
    )


def _means(values: torch.Tensor, known: torch.Tensor) -> tuple[float, ...]:
    return tuple(values[..., step][known[..., step]].mean().item() for step in range(known.shape[-1]))


def _by_difficulty(without: torch.Tensor, mixed: torch.Tensor) -> tuple[float, ...]:
    """Mean gain of each fifth of the tokens, in the order of their loss without thought."""
    return _fifths((without - mixed)[without.argsort()])


def _fifths(values: torch.Tensor) -> tuple[float, ...]:
    return tuple(part.mean().item() for part in values.tensor_split(QUANTILES) if len(part))


def _drawn(rows: int, columns: int, count: int, seed: int) -> list[tuple[int, int]]:
    """Places of tokens that follow a thought, drawn evenly, in order."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(rows * columns, generator=generator)[:count].sort().values
    return [divmod(place, columns) for place in chosen.tolist()]


@dataclass(frozen=True, slots=True)
class _Shows:
    """Thoughts of some windows as a person reads them."""

    ids: torch.Tensor
    gains: torch.Tensor  # (rows, length - 1)
    without: torch.Tensor  # the same shape
    thoughts: torch.Tensor
    decode: Callable[[Sequence[int]], str]

    def best(self, count: int) -> list[Thought]:
        top = self.gains.flatten().topk(min(count, self.gains.numel()))
        return [self.at(*divmod(place, self.gains.shape[1]), drawn=False) for place in top.indices.tolist()]

    def at(self, row: int, column: int, *, drawn: bool = True) -> Thought:
        """The thought behind a token, and the token after it."""
        ids = self.ids[row]
        return Thought(
            before=self.decode(ids[max(0, column - SHOWN_BEFORE) : column + 1].tolist()),
            thought=self.decode(self.thoughts[row, column].tolist()),
            token=self.decode(ids[column + 1 : column + 2].tolist()),
            gain=self.gains[row, column].item(),
            nll=self.without[row, column].item(),
            drawn=drawn,
        )
