"""Which train examples an iteration asks by what the iterations before found: AdaSTaR's AdaD and AdaC.

Algorithm 1 of "AdaSTaR: Adaptive Data Sampling for Training Self-Taught Reasoners" (arXiv 2505.16322) keeps a
heap of the examples by (t, w): the last iteration that was done with an example, and its win rate then. An
iteration takes from the front until the right tries give it the rows that its optimizer steps need, and is
done with the first floor(m * accuracy^2) of the m that it took; the others keep their place.

Here the heap is a sort of what is recorded, and sampling goes in waves. The rows are counted in the order of
the heap, not of arrival: m is the shortest prefix with enough of them, whatever the workers did first. Tries
beyond it are surplus: recorded, not trained on, and without effect on t and w. Everything is a pure function
of the iterations' records, so forks, resumed jobs and any number of workers ask the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from typing import Any

from star_engine.config.selection import SelectionOrder
from star_engine.config.star import StarConfig
from star_engine.data.selection import drawn_from, steps_in, tie

SMALLEST_WAVE = 8  # examples: fewer leave a sampler's batch empty
LOWEST_YIELD = 0.1  # rows of an example that a wave counts on at least


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an iteration's tries at one example came to."""

    tries: int  # without a hint
    right: int
    hinted: int
    hinted_right: int
    rows: int  # that the training set takes of them

    @property
    def win_rate(self) -> float:
        """The share of right tries, by both routes: w of the paper."""
        made = self.tries + self.hinted
        return (self.right + self.hinted_right) / made if made else 0.0

    @property
    def solved(self) -> bool:
        """Whether every try without a hint was right."""
        return 0 < self.tries == self.right

    @property
    def accuracy(self) -> float:
        """The share of right tries without a hint; 1 where the hint rescued the example."""
        if self.hinted_right:
            return 1.0
        return self.right / self.tries if self.tries else 0.0


@dataclass(frozen=True, slots=True)
class Selected:
    """The examples that an iteration asks, in their order, and what became of them so far."""

    positions: tuple[int, ...]
    wanted: int | None  # rows after which no more are asked; None: all positions are used
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)  # by position
    used: int | None = None  # of the positions, the first so many; None: still being sampled
    accuracy: float | None = None  # over those used
    done_with: int | None = None  # of those used, the first so many count as sampled in this iteration

    @property
    def surplus(self) -> tuple[int, ...]:
        """The positions that were asked beyond what is used; none while sampling goes on."""
        return () if self.used is None else self.positions[self.used :]

    @property
    def used_positions(self) -> tuple[int, ...]:
        """The positions that the iteration uses; all asked so far while sampling goes on."""
        return self.positions[: self.used]

    @property
    def solved(self) -> int:
        """How many of the examples used have a right try without a hint."""
        used = (self.outcomes.get(position) for position in self.used_positions)
        return sum(one is not None and one.right > 0 for one in used)

    def found(self, outcomes: Mapping[int, Outcome]) -> Selected:
        """The same with what became of some more positions."""
        return replace(self, outcomes={**self.outcomes, **outcomes})

    def as_json(self) -> dict[str, Any]:
        """As an iteration's record holds it."""
        flat = asdict(replace(self, outcomes={}))
        return flat | {
            "positions": list(self.positions),
            "outcomes": {str(position): list(astuple(one)) for position, one in self.outcomes.items()},
        }


def selected_from(stored: Mapping[str, Any]) -> Selected:
    """Read what `Selected.as_json` wrote."""
    outcomes = {int(position): Outcome(*counts) for position, counts in stored["outcomes"].items()}
    return Selected(**{**stored, "positions": tuple(stored["positions"]), "outcomes": outcomes})


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of an example before an iteration."""

    iteration: int = 0  # the last one that was done with it: t of the paper; 0: none was
    win_rate: float = 0.0  # in that iteration: w of the paper
    last_used: int = 0
    solved: bool = False  # in the iteration that used it last
    failures: int = 0  # iterations that used it
    ever_right: bool = False
    unsolved: int = 0  # iterations in a row, up to the last that used it, without a right try but by a hint

    def after(self, iteration: int, outcome: Outcome, *, done_with: bool) -> Progress:
        """What is known after an iteration that used the example."""
        return Progress(
            iteration=iteration if done_with else self.iteration,
            win_rate=outcome.win_rate if done_with else self.win_rate,
            last_used=iteration,
            solved=outcome.solved,
            failures=self.failures + 1,
            ever_right=self.ever_right or outcome.win_rate > 0,
            unsolved=0 if outcome.right else self.unsolved + 1,
        )


def progress(history: Mapping[int, Selected]) -> dict[int, Progress]:
    """What is known of each position that was ever used, from the closed selections by iteration."""
    known: dict[int, Progress] = {}
    for iteration in sorted(history):
        selected = history[iteration]
        for place, position in enumerate(selected.used_positions):
            if (outcome := selected.outcomes.get(position)) is not None:
                before = known.get(position, Progress())
                done_with = place < (selected.done_with or 0)
                known[position] = before.after(iteration, outcome, done_with=done_with)
    return known


def wanted_rows(config: StarConfig, iteration: int) -> int | None:
    """The rows after which an iteration samples no more (beta_t); None: it asks everything it selects."""
    order = config.selection.order
    if order is SelectionOrder.DRAWN:
        return None
    if config.selection.rows is not None or order is not SelectionOrder.ADAPTIVE:
        return config.selection.rows
    return steps_in(config.training.schedule, iteration) * config.training.batch_size


def in_turn(
    config: StarConfig, iteration: int, candidates: Sequence[int], known: Mapping[int, Progress]
) -> list[int]:
    """The positions among `candidates` that the iteration may ask, in their order.

    Adaptive: by the last iteration that was done with them, their win rate then, and a hash. By difficulty:
    what no iteration has asked, then by win rate, and a hash. Drawn: by the seed, ascending. Those that
    `skip_solved_for` or `max_unsolved` leave out are missing, unless that left nothing; at most
    `examples_per_iteration`.
    """
    seen = {position: known.get(position, Progress()) for position in candidates}
    open_ = [position for position in candidates if not _left_out(config, iteration, seen[position])]
    open_ = open_ or list(candidates)
    order = config.selection.order
    if order is SelectionOrder.DRAWN:
        return drawn_from(config, iteration, open_)

    def key(position: int) -> tuple[int, float, int]:
        known = seen[position]
        asked = known.iteration if order is SelectionOrder.ADAPTIVE else min(known.iteration, 1)
        rate = -known.win_rate if order is SelectionOrder.EASY_FIRST else known.win_rate
        return asked, rate, tie(config.seed, position)

    return sorted(open_, key=key)[: config.examples_per_iteration]


def _left_out(config: StarConfig, iteration: int, known: Progress) -> bool:
    if known.solved and iteration <= known.last_used + config.selection.skip_solved_for:
        return True
    most = config.selection.max_unsolved
    return most is not None and known.failures >= most and not known.ever_right


def begun(config: StarConfig, iteration: int, turn: Sequence[int], before: Selected | None) -> Selected:
    """The first wave of an iteration. `before`: the selection of the iteration before, if there is one."""
    wanted = wanted_rows(config, iteration)
    size = len(turn) if wanted is None else _wave(wanted, _yield_of(before) if before else 1.0)
    return Selected(tuple(turn[:size]), wanted)


def continued(config: StarConfig, turn: Sequence[int], selected: Selected) -> Selected:
    """The selection after a wave: with another wave, or closed (`used` is not None) if it needs none.

    Every position has an outcome. ValueError where one has none.
    """
    if missing := [position for position in selected.positions if position not in selected.outcomes]:
        raise ValueError(f"position {missing[0]} has been selected and not been sampled")
    rows = [selected.outcomes[position].rows for position in selected.positions]
    reached = _prefix(rows, selected.wanted)
    asked = len(selected.positions)
    if reached is None and selected.wanted is not None and asked < len(turn):
        size = _wave(selected.wanted - sum(rows), _yield_of(selected))
        return replace(selected, positions=tuple(turn[: asked + size]))
    return _closed(config, selected, asked if reached is None else reached)


def _prefix(rows: Sequence[int], wanted: int | None) -> int | None:
    """The length of the shortest prefix with the wanted rows; None where there is none, or all are wanted."""
    total = 0
    for number, count in enumerate(rows, 1):
        total += count
        if wanted is not None and total >= wanted:
            return number
    return None


def _closed(config: StarConfig, selected: Selected, used: int) -> Selected:
    """AdaC: the iteration is done with floor(m * accuracy^power) of the m examples used."""
    rates = [selected.outcomes[position].accuracy for position in selected.positions[:used]]
    accuracy = round(math.fsum(rates) / used, 9) if used else 0.0
    adaptive = config.selection.order is SelectionOrder.ADAPTIVE
    done_with = math.floor(used * accuracy**config.selection.power) if adaptive else used
    return replace(selected, used=used, accuracy=accuracy, done_with=done_with)


def _yield_of(selected: Selected) -> float:
    """Rows of a mean example so far."""
    known = [selected.outcomes[position].rows for position in selected.used_positions]
    return sum(known) / len(known) if known else 1.0


def _wave(missing: int, rows_each: float) -> int:
    return max(SMALLEST_WAVE, math.ceil(missing / max(rows_each, LOWEST_YIELD)))


def summary(selected: Selected) -> dict[str, Any]:
    """What the metrics of an iteration say of its selection."""
    used = [selected.outcomes[position] for position in selected.used_positions]
    return {
        "asked": len(selected.positions),
        "used": len(used),
        "surplus": len(selected.surplus),
        "wanted_rows": selected.wanted,
        "rows": sum(one.rows for one in used),
        "accuracy": selected.accuracy,
        "done_with": selected.done_with,
    }
