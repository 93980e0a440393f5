"""Writes text with a thought before every token: what a trained adapter is used for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from star_engine.config.quiet_star import QuietStar, Thoughts
from star_engine.gpu.quiet_star.objective import mixed_logits
from star_engine.gpu.quiet_star.thinking import Policy, Thinker


@dataclass(frozen=True, slots=True)
class Written:
    """A token of the text, and what was thought before it, which is no part of the text."""

    token: int
    thought: tuple[int, ...]


@torch.inference_mode()
def write(
    thinker: Thinker,
    prompt: Sequence[int],
    banned: torch.Tensor,
    *,
    max_tokens: int,
    seed: int,
    stop: frozenset[int] = frozenset(),
) -> Iterator[Written]:
    """Continue the prompt greedily, thinking before each token, until a token of `stop`.

    Every token is computed from the whole text: its cost is that of the text's length times the thought's.
    """
    settings: QuietStar = thinker.settings
    ids = list(prompt)
    for number in range(max_tokens):
        generator = torch.Generator(banned.device).manual_seed(seed * 1_000_003 + number)
        text = torch.tensor([ids], device=banned.device)
        thinking = thinker.think(text, Policy(settings, banned, generator), last=True)
        without, after = thinking.without, thinking.after[0]
        share = thinker.head(without.float(), after.float()) * (settings.thoughts is not Thoughts.OFF)
        logits = mixed_logits(thinker, thinker.unembed(without).float(), without, after, share)
        token = int(logits[0, 0].argmax())
        if token in stop:
            return
        ids.append(token)
        yield Written(token, tuple(thinking.tokens[0, -1].tolist()))
