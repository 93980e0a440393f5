"""The selections of a run's iterations, in the files of its directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from star_engine.config.star import StarConfig
from star_engine.data.adaptive import Outcome, Progress, Selected, begun, continued, in_turn, progress
from star_engine.data.selection import in_stage, select_train
from star_engine.run_directory import RunDirectory
from star_engine.tasks.examples import Example


@dataclass(frozen=True, slots=True)
class RunSelections:
    """Which train examples each iteration asks."""

    config: StarConfig
    train: Sequence[Example]
    directory: RunDirectory

    def positions(self, iteration: int) -> Sequence[int]:
        """Those asked so far, in the order of the selection."""
        selected = self.of(iteration)
        if selected is not None:
            return selected.positions
        return select_train(self.config, len(self.train), iteration, self._groups())

    def of(self, iteration: int) -> Selected | None:
        """The iteration's selection, begun if it has none; None where the seed alone decides."""
        if not self.config.records_selection or iteration < 1:
            return None
        known = self.directory.selection(iteration)
        if known is None:
            before = self.directory.selection(iteration - 1)
            known = begun(self.config, iteration, self._turn(iteration), before)
            self.directory.write_selection(iteration, known)
        return known

    def surplus(self, iteration: int) -> frozenset[str]:
        """Ids of the examples asked beyond what the iteration needs."""
        selected = self.of(iteration)
        positions = selected.surplus if selected else ()
        return frozenset(self.train[position].id for position in positions)

    def go_on(self, iteration: int) -> bool:
        """Add another wave to the selection of an iteration, or close it; whether there is another wave."""
        known = self.of(iteration)
        if known is None or known.used is not None:
            return False
        selected = continued(self.config, self._turn(iteration), known)
        self.directory.write_selection(iteration, selected)
        return selected.used is None

    def record(self, iteration: int, outcomes: Mapping[str, Outcome]) -> None:
        """Keep what became of selected examples, by their ids."""
        known = self.of(iteration)
        if known is not None and known.used is None:
            position = {example.id: number for number, example in enumerate(self.train)}
            found = known.found({position[name]: one for name, one in outcomes.items()})
            self.directory.write_selection(iteration, found)

    def failures(self, iteration: int) -> dict[str, int]:
        """How many iterations before this one have failed at an example in a row, by its id."""
        return {self.train[position].id: one.unsolved for position, one in self._known(iteration).items()}

    def _turn(self, iteration: int) -> list[int]:
        candidates = in_stage(self.config, len(self.train), iteration, self._groups())
        return in_turn(self.config, iteration, candidates, self._known(iteration))

    def _known(self, iteration: int) -> dict[int, Progress]:
        before = {number: self.directory.selection(number) for number in range(1, iteration)}
        return progress({number: one for number, one in before.items() if one is not None})

    def _groups(self) -> list[str | None]:
        return [example.group for example in self.train]
