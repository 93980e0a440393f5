"""Which train examples an iteration asks: a part of StarConfig."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from star_engine.section import Section


class SelectionOrder(StrEnum):
    DRAWN = "drawn"  # by the seed alone
    ADAPTIVE = "adaptive"  # by what the iterations before found: AdaSTaR
    EASY_FIRST = "easy_first"
    HARD_FIRST = "hard_first"


BY_DIFFICULTY = (SelectionOrder.EASY_FIRST, SelectionOrder.HARD_FIRST)


class Selection(Section):
    """Which train examples an iteration asks, and in which order."""

    order: SelectionOrder = SelectionOrder.DRAWN
    """drawn: by the seed; adaptive: those untried for longest, of these the least solved first (AdaSTaR);
    easy_first, hard_first: by the share of right tries in the last iteration that asked them, highest or
    lowest first. Those that none has asked yet come before, since nothing is known of them.
    """
    rows: Annotated[int, Field(ge=1)] | None = None
    """Rows after which an iteration samples no more, in any order but drawn; null: steps x batch_size where
    the order is adaptive, no limit with the others.
    """
    power: Annotated[float, Field(ge=0, le=10)] = 2.0
    """With the order adaptive: the share of the examples used that counts as done is accuracy to this power.

    The others come first again in the next iteration, so a weak model stays with what it has begun.
    """
    skip_solved_for: Annotated[int, Field(ge=0, le=100)] = 0
    """Iterations for which an example is not asked after each try without a hint was right; 0: none.

    What is skipped is not sampled, so it trains only where training_set.window reaches back to it.
    """
    max_unsolved: Annotated[int, Field(ge=1)] | None = None
    """Iterations after which an example is asked no more if no try was ever right, hinted ones included.

    Its gold answer is probably wrong. Null: no limit.
    """

    @property
    def recorded(self) -> bool:
        """Whether what an iteration asks follows from earlier ones, so that it is recorded with it."""
        return (
            self.order is not SelectionOrder.DRAWN
            or self.skip_solved_for > 0
            or self.max_unsolved is not None
        )
