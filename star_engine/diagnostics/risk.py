"""How likely it is that a kept rationale should not have been kept: what a person should read first.

risk = luck x disagreement, both between 0 and 1. Neither says that a text is wrong. They say of which texts a
right answer proves least, and where the other evidence speaks against it.
"""

from __future__ import annotations

from dataclasses import dataclass

from star_engine.sampling.rationales import Route


@dataclass(frozen=True, slots=True)
class Tried:
    """The tries at one question that were made without a hint."""

    made: int = 0
    right: int = 0


@dataclass(frozen=True, slots=True)
class Risk:
    """Of one kept rationale; it is ordered by `value`."""

    luck: float  # that the answer is right for no reason
    disagreement: float  # of the other tries at the question, or of the second opinion
    chance: float  # that a guess is right
    tries: Tried
    second_opinion: bool | None = None  # whether a second way to read the answer takes it; None: no opinion

    @property
    def value(self) -> float:
        return self.luck * self.disagreement


def risk_of(route: Route, tries: Tried, chance: float, second_opinion: bool | None = None) -> Risk:
    """The risk of a kept text of this route. `tries`: all at its question, the text itself included."""
    return Risk(
        luck=luck_of(route, tries, chance),
        disagreement=1.0 if second_opinion is False else disagreement_of(route, tries),
        chance=chance,
        tries=tries,
        second_opinion=second_opinion,
    )


def luck_of(route: Route, tries: Tried, chance: float) -> float:
    """The probability that a right answer came by chance.

    A try knows the answer (k), or guesses and is right with `chance` (g): the win rate is w = k + (1 - k) g.
    Of right answers (1 - k) g / w are then guesses. With the answer in view a guess is always right (g = 1 in
    the last formula), and 1 - k of them are luck. w is (right + 1) / (made + 2), so that a single try does
    not count as certainty.
    """
    win_rate = (tries.right + 1) / (tries.made + 2)
    knows = max(0.0, (win_rate - chance) / (1 - chance)) if chance < 1 else 0.0
    if route is Route.RATIONALIZED:
        return 1 - knows
    return min(1.0, (1 - knows) * chance / win_rate)


def disagreement_of(route: Route, tries: Tried) -> float:
    """The share of the other tries at the question that came to no right answer, (n + 1) / (all + 2)."""
    own = 1 if route is Route.GENERATED and tries.right else 0
    others, agreeing = tries.made - own, tries.right - own
    return (others - agreeing + 1) / (others + 2)
