"""What Quiet-STaR adds to a base model: two soft tokens, and the head that weighs a thought."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


class ThoughtHead(nn.Module):
    """The embeddings of start and end, and an MLP of three layers that mixes with and without thought.

    Its last layer begins at zero: every weight is `initial_weight` before anything is learned.
    """

    def __init__(self, embedding: torch.Tensor, *, initial_weight: float, embedding_scale: float) -> None:
        """`embedding`: of shape (hidden,), where both soft tokens begin."""
        super().__init__()
        hidden = embedding.shape[0]
        self.scale = embedding_scale
        self.register_buffer("origin", embedding.detach().clone())
        self.start = nn.Parameter(torch.zeros(hidden))
        self.end = nn.Parameter(torch.zeros(hidden))
        self.mixing = nn.Sequential(
            nn.Linear(2 * hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )
        last: Any = self.mixing[-1]
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, math.log(initial_weight / (1 - initial_weight)))

    @property
    def start_row(self) -> torch.Tensor:
        """The embedding of the start of a thought, of shape (hidden,)."""
        return self._row(self.start)

    @property
    def end_row(self) -> torch.Tensor:
        """The embedding of the end of a thought, of shape (hidden,)."""
        return self._row(self.end)

    def _row(self, learned: torch.Tensor) -> torch.Tensor:
        """A row moves `scale` times as fast as what is learned: AdamW would undo a scaled gradient."""
        origin: Any = self.origin
        row: torch.Tensor = origin + self.scale * learned
        return row

    def forward(self, without: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """The weight of the thought, 0 to 1, of shape (..., 1), from hidden states of shape (..., hidden)."""
        return torch.sigmoid(self.mixing(torch.cat([without, after], dim=-1)))
