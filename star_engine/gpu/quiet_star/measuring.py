"""What thoughts are worth on text that was not trained on, and the thoughts themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from star_engine.gpu.quiet_star.objective import Predictions, predict
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
    policy = Policy(thinker.settings, banned, torch.Generator(windows.device).manual_seed(seed))
    places = _drawn(len(windows), windows.shape[1] - 1, drawn, seed)
    found, best, others = list[Predictions](), list[Thought](), list[Thought]()
    done = 0
    for part in torch.split(windows, thinker.settings.micro_batch):
        thinking = thinker.think(part, policy)
        found.append(predict(thinker, thinking, part))
        shows = _Shows(part, found[-1], thinking.tokens, decode)
        best += shows.best(shown)
        others += [shows.at(row - done, at) for row, at in places if done <= row < done + len(part)]
        done += len(part)
        yield done, len(windows)
    wanted = torch.ones_like(windows, dtype=torch.bool) if counted is None else counted
    yield _worth(found, wanted, (*sorted(best, key=lambda one: -one.gain)[:shown], *others))


def _worth(found: Sequence[Predictions], counted: torch.Tensor, thoughts: tuple[Thought, ...]) -> Worth:
    """`counted`: booleans of shape (windows, length)."""
    without, mixed, weight = (
        torch.cat([getattr(part, name) for part in found]) for name in ("without", "mixed", "weight")
    )
    known = found[0].known
    ahead = range(1, known.shape[-1] + 1)
    counts = known & torch.stack([counted.roll(-step, dims=1) for step in ahead], dim=-1)
    alone, thought = (losses[..., 0][counts[..., 0]] for losses in (without, mixed))
    return Worth(
        tokens=len(alone),
        without=_means(without, counts),
        mixed=_means(mixed, counts),
        gain_by_difficulty=_fifths((alone - thought)[alone.argsort()]),
        without_by_difficulty=_fifths(alone.sort().values),
        thoughts=thoughts,
        windows=len(counted),
        weight=weight[:, known[:, 0], 0].mean().item(),
    )


def _means(values: torch.Tensor, known: torch.Tensor) -> tuple[float, ...]:
    return tuple(values[..., step][known[..., step]].mean().item() for step in range(known.shape[-1]))


def _fifths(values: torch.Tensor) -> tuple[float, ...]:
    """Means of equal parts of values, which are in the order of their tokens' loss without thought."""
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
    found: Predictions
    thoughts: torch.Tensor
    decode: Callable[[Sequence[int]], str]

    def best(self, count: int) -> list[Thought]:
        gains = (self.found.without - self.found.mixed)[:, :-1, 0]
        top = gains.flatten().topk(min(count, gains.numel()))
        return [self.at(*divmod(place, gains.shape[1]), drawn=False) for place in top.indices.tolist()]

    def at(self, row: int, column: int, *, drawn: bool = True) -> Thought:
        """The thought behind a token, and the token after it."""
        ids = self.ids[row]
        without, mixed = (one[row, column, 0].item() for one in (self.found.without, self.found.mixed))
        return Thought(
            before=self.decode(ids[max(0, column - SHOWN_BEFORE) : column + 1].tolist()),
            thought=self.decode(self.thoughts[row, column].tolist()),
            token=self.decode(ids[column + 1 : column + 2].tolist()),
            gain=without - mixed,
            nll=without,
            drawn=drawn,
        )
