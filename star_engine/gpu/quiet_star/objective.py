"""The losses of Quiet-STaR: next tokens with and without thought, and REINFORCE on the thought."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from star_engine.config.quiet_star import Thoughts
from star_engine.gpu.quiet_star.thinking import Thinker, Thinking, recomputed


@dataclass(frozen=True, slots=True)
class Predictions:
    """Negative log-likelihoods of true tokens, in nats, of shape (rows, length, ahead).

    Entry (row, j, k) is of the token at j + k + 1: as the text alone predicts it, and as it is predicted
    with the thought at j and the true tokens between. `known` (length, ahead): where there is such a token.
    """

    without: torch.Tensor
    mixed: torch.Tensor
    weight: torch.Tensor  # of the thought, 0 to 1: the same shape
    known: torch.Tensor

    @property
    def whole(self) -> torch.Tensor:
        """Where all tokens ahead are known, (length,): thoughts are rewarded there."""
        return self.known.all(-1)


def predict(
    thinker: Thinker, thinking: Thinking, ids: torch.Tensor, weight: float | None = None
) -> Predictions:
    """Compare both predictions with the text. `weight`: of the thought, in place of the head's, which is 0
    where nothing is thought.
    """
    length = ids.shape[1]
    if thinker.settings.thoughts is Thoughts.OFF:
        weight = 0.0
    columns: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for ahead, after in enumerate(thinking.after):
        without = thinking.without.roll(-ahead, dims=1)
        wanted = ids.roll(-ahead - 1, dims=1)
        columns.append(recomputed(_column, thinker, without, after, wanted, weight))
    positions = torch.arange(length, device=ids.device)[:, None]
    steps = torch.arange(len(columns), device=ids.device)[None]
    without_all, mixed_all, shares = (torch.stack(part, dim=-1) for part in zip(*columns, strict=True))
    return Predictions(without_all, mixed_all, shares, positions + steps + 1 < length)


def _column(
    thinker: Thinker, without: torch.Tensor, after: torch.Tensor, wanted: torch.Tensor, weight: float | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Both losses of the tokens at one distance, and the weight of the thoughts."""
    share = thinker.head(without.float(), after.float())
    if weight is not None:
        share = torch.full_like(share, weight)
    logits = thinker.unembed(without).float()
    mixed = mixed_logits(thinker, logits, without, after, share)
    return _nll(logits, wanted), _nll(mixed, wanted), share.squeeze(-1)


def mixed_logits(
    thinker: Thinker, logits: torch.Tensor, without: torch.Tensor, after: torch.Tensor, share: torch.Tensor
) -> torch.Tensor:
    """Predictions without and after a thought as one; `share` is the weight of the thought, 0 to 1."""
    if thinker.settings.mix == "hidden":
        hidden = (1 - share) * without + share * after
        logits_of_both: torch.Tensor = thinker.unembed(hidden.to(without.dtype)).float()
        return logits_of_both
    thought: torch.Tensor = thinker.unembed(after).float()
    return (1 - share) * logits + share * thought


def _nll(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return -logits.log_softmax(-1).gather(-1, wanted.unsqueeze(-1)).squeeze(-1)


def advantages(rewards: torch.Tensor) -> torch.Tensor:
    """What each thought's reward is above the mean of its position; (rationales, rows, length) in and out."""
    return rewards - rewards.mean(0, keepdim=True)


def policy_loss(advantage: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    """REINFORCE on thoughts that did better than the mean alone, as the paper says; of the same shape."""
    return -advantage.clamp(min=0).detach() * logprobs


@dataclass(frozen=True, slots=True)
class Loss:
    """Sums over positions, to be divided by their counts: a batch may be computed in parts."""

    total: torch.Tensor
    without: float
    mixed: tuple[float, ...]  # by tokens ahead
    weight: float
    positive: float  # thoughts whose advantage is positive
    policy: float
    entropy: float  # of the thoughts' tokens, times the rows


def loss_of(thinker: Thinker, ids: torch.Tensor, thinking: Thinking, counts: Counts) -> Loss:
    """The loss of repeated windows: row r * windows + n has the r-th thoughts of window n."""
    settings = thinker.settings
    found = predict(thinker, thinking, ids)
    known = found.known.to(found.mixed.dtype)
    without = (found.without[..., 0] * known[:, 0]).sum()
    mixed = (found.mixed * known).sum((0, 1))
    rewards = -(found.mixed * known).sum(-1).view(settings.rationales, -1, ids.shape[1])
    advantage = advantages(rewards) * found.whole
    policy = policy_loss(advantage, thinking.logprobs.view_as(rewards)).sum()
    total = settings.base_loss * without / counts.tokens
    total = total + (1 - settings.base_loss) * mixed.sum() / counts.ahead
    if settings.thoughts is Thoughts.SAMPLED:
        total = total + settings.policy_weight * policy / (counts.thoughts * settings.thought_tokens)
    return Loss(
        total=total,
        without=without.item(),
        mixed=tuple(mixed.tolist()),
        weight=(found.weight * known).sum().item(),
        positive=float((advantage > 0).sum().item()),
        policy=policy.item(),
        entropy=thinking.entropy.item() * ids.shape[0],
    )


@dataclass(frozen=True, slots=True)
class Counts:
    """What the sums of a batch are divided by."""

    tokens: int  # that the text alone predicts
    ahead: int  # that are predicted after a thought, for all numbers of tokens ahead together
    by_ahead: tuple[int, ...]
    thoughts: int  # that are rewarded

    @staticmethod
    def of(rows: int, length: int, ahead: int) -> Counts:
        """`rows`: windows times rationales."""
        by_ahead = tuple(rows * (length - 1 - step) for step in range(ahead))
        return Counts(by_ahead[0], sum(by_ahead), by_ahead, by_ahead[-1])
