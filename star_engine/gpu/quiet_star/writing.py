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
    thinks: bool = True,
) -> Iterator[Written]:
    """Continue the prompt greedily, thinking before each token, until a token of `stop`.

    `thinks`: False: without thoughts, as the text alone predicts its next token. Every token is computed from
    the whole text: its cost is a pass over the text, and one over its last position for each token of a
    thought.
    """
    settings: QuietStar = thinker.settings
    ids = list(prompt)
    for number in range(max_tokens):
        text = torch.tensor([ids], device=banned.device)
        thought: tuple[int, ...] = ()
        if thinks and settings.thoughts is not Thoughts.OFF:
            generator = torch.Generator(banned.device).manual_seed(seed * 1_000_003 + number)
            token, thought = _thought_out(thinker, text, Policy(settings, banned, generator))
        else:
            token = int(thinker.unembed(thinker.read(text)[:, -1:]).argmax())
        if token in stop:
            return
        ids.append(token)
        yield Written(token, thought)


def _thought_out(thinker: Thinker, text: torch.Tensor, policy: Policy) -> tuple[int, tuple[int, ...]]:
    """The likeliest next token after a thought, and the thought."""
    thinking = thinker.think(text, policy, last=True)
    without, after = thinking.without, thinking.after[0]
    share = thinker.head(without.float(), after.float())
    logits = mixed_logits(thinker, thinker.unembed(without).float(), without, after, share)
    return int(logits[0, 0].argmax()), tuple(thinking.tokens[0, -1].tolist())
