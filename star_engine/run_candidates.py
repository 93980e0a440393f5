"""Candidates of a run in files: the answers, what scorers say of them, and what k of them come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from star_engine.evaluation.candidates import Candidate, CandidateKey, QuestionCurves, Scored
from star_engine.evaluation.receipt import Evidence
from star_engine.run_directory import JsonLines, RunDirectory, lines_of
from star_engine.tasks.examples import Example
from star_engine.tasks.programs.tool_use import tool_use_from


@dataclass(frozen=True, slots=True)
class CandidateFiles:
    """The files of one iteration; 0: of the base model."""

    directory: RunDirectory
    iteration: int

    def candidates(self) -> list[Candidate]:
        """All that are recorded, with their scores, in the order in which they came."""
        scores: dict[CandidateKey, dict[str, Scored]] = defaultdict(dict)
        for line in lines_of(self.path("candidate_scores")):
            scores[_key(line)][line["scorer"]] = Scored(line["total"], line["tokens"])
        found = (_candidate(line) for line in lines_of(self.path("candidates")))
        return [replace(one, scores=scores[one.key]) if one.key in scores else one for one in found]

    def question_curves(self) -> list[QuestionCurves]:
        """Of each question once, however often the phase was finished."""
        newest = {line["example_id"]: line for line in lines_of(self.path("test_time"))}
        return [
            QuestionCurves(
                **{**line, "curves": {name: tuple(values) for name, values in line["curves"].items()}}
            )
            for line in newest.values()
        ]

    def path(self, name: str) -> Path:
        folder = self.directory.iteration(self.iteration) if self.iteration else None
        return (folder or self.directory.root / "baselines") / f"{name}.jsonl"


@dataclass(slots=True)
class DirectoryCandidates:
    """The CandidateRecord of `run_star`. Its files stay open until the slice is done."""

    files: CandidateFiles
    asked: Sequence[Example]
    measured: Callable[[Callable[[Path, Evidence], None]], None]  # writes the receipt, given how
    _open: dict[str, JsonLines] = field(default_factory=dict)

    def examples(self) -> Sequence[Example]:
        return self.asked

    def recorded(self) -> list[Candidate]:
        place = {example.id: n for n, example in enumerate(self.asked)}
        own = (one for one in self.files.candidates() if one.key.example_id in place)
        return sorted(own, key=lambda one: (place[one.key.example_id], one.key.sample))

    def add(self, batch: Sequence[Candidate]) -> None:
        self._append("candidates", (_line(one) for one in batch))

    def add_scores(self, scorer: str, found: Mapping[CandidateKey, Scored]) -> None:
        lines = ({**asdict(key), "scorer": scorer, **asdict(score)} for key, score in found.items())
        self._append("candidate_scores", lines)

    def finish(
        self,
        questions: Sequence[QuestionCurves],
        state: Callable[[Path, Evidence], None] | None = None,
    ) -> None:
        self._append("test_time", map(asdict, questions))
        for lines in self._open.values():
            lines.close()
        self._open.clear()
        if state is not None:
            self.measured(state)

    def _append(self, name: str, written: Iterable[Mapping[str, Any]]) -> None:
        if name not in self._open:
            self._open[name] = JsonLines(self.files.path(name))
        for line in written:
            self._open[name].append(line)


def _line(candidate: Candidate) -> dict[str, Any]:
    """A candidate as one flat JSON object; its scores have lines of their own."""
    fields = asdict(candidate)
    del fields["key"], fields["scores"], fields["tools"]
    tools = {} if candidate.tools is None else {"tools": candidate.tools.as_json()}
    return asdict(candidate.key) | fields | tools


def _candidate(line: Mapping[str, Any]) -> Candidate:
    rest = {name: value for name, value in line.items() if name not in ("example_id", "sample", "tools")}
    return Candidate(key=_key(line), **rest, tools=tool_use_from(line.get("tools")))


def _key(line: Mapping[str, Any]) -> CandidateKey:
    return CandidateKey(line["example_id"], line["sample"])
