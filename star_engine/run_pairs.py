"""Preference pairs of a run in files: the pairs, and what the reference model says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_engine.adapters.layout import write_durably
from star_engine.run_directory import JsonLines, RunDirectory, lines_of
from star_engine.sampling.rationales import RationaleKey, Route
from star_engine.tasks.examples import Example
from star_engine.training_set.pairs import PairRow, Tried, TryKey

if TYPE_CHECKING:
    from star_engine.run_record import Run


@dataclass(frozen=True, slots=True)
class DirectoryPairs:
    """The PairRecord of `run_star`. `found`: what the phase adds to the history."""

    run: Run
    iteration: int
    found: dict[str, Any]

    def examples(self) -> list[Example]:
        asked = {one.id for n in self._numbers for one in self.run.train_examples(n)}
        return [one for one in self.run.train if one.id in asked]

    def tries(self) -> list[Tried]:
        return [Tried(n, one) for n in self._numbers for one in self.run.directory.rationales(n)]

    def recorded(self) -> list[PairRow]:
        return read_pairs(self.run.directory, self.iteration)

    def add(self, rows: Sequence[PairRow], facts: Mapping[str, Any]) -> None:
        lines = [json.dumps(asdict(row), ensure_ascii=False) for row in rows]
        folder = self.run.directory.iteration(self.iteration)
        write_durably(folder / "pairs.json", json.dumps(dict(facts)))
        write_durably(folder / "pairs.jsonl", "".join(f"{line}\n" for line in lines))

    def add_references(self, found: Mapping[int, tuple[float, float]]) -> None:
        with JsonLines(self._references) as lines:
            for position, (chosen, rejected) in found.items():
                lines.append({"position": position, "chosen": chosen, "rejected": rejected})

    def finish(self) -> None:
        path = self.run.directory.iteration(self.iteration) / "pairs.json"
        self.found["pairs"] = json.loads(path.read_text(encoding="utf-8"))

    @property
    def _numbers(self) -> range:
        return range(1, self.iteration + 1)

    @property
    def _references(self) -> Path:
        return self.run.directory.iteration(self.iteration) / "pair_references.jsonl"


def read_pairs(directory: RunDirectory, iteration: int) -> list[PairRow]:
    """The pairs of an iteration, with what the reference model says of them."""
    folder = directory.iteration(iteration)
    said = {
        line["position"]: (line["chosen"], line["rejected"])
        for line in lines_of(folder / "pair_references.jsonl")
    }
    rows = []
    for line in lines_of(folder / "pairs.jsonl"):
        row = PairRow(**{**line, "chosen": _key(line["chosen"]), "rejected": _key(line["rejected"])})
        chosen, rejected = said.get(row.position, (None, None))
        rows.append(replace(row, reference_chosen=chosen, reference_rejected=rejected))
    return rows


def _key(line: Mapping[str, Any]) -> TryKey:
    key = line["key"]
    return TryKey(line["iteration"], RationaleKey(key["example_id"], Route(key["route"]), key["sample"]))
