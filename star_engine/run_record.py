"""The Record of `run_star`: what one slice reads and writes in a RunDirectory, and the counts of it."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from star_engine.adapters.layout import OPTIMIZER, Verification
from star_engine.adapters.model_card import is_measured
from star_engine.adapters.roles import AdapterRole
from star_engine.config.star import StarConfig
from star_engine.data.adaptive import Outcome, Selected
from star_engine.diagnostics.iteration import Before
from star_engine.diagnostics.spark import Answered, chance_level
from star_engine.evaluation.accuracy import (
    Accuracy,
    EvaluatedAnswer,
    EvaluationMode,
    outcome,
    select_held_out,
    summarise,
)
from star_engine.evaluation.candidates import QuestionCurves, vote_of
from star_engine.evaluation.collapse import Measured, QuestionSpread, measured_of
from star_engine.evaluation.comparison import evidence_so_far
from star_engine.evaluation.receipt import Evidence
from star_engine.evaluation.report import Outcomes
from star_engine.phases.phase import Slice
from star_engine.protocols import BadAdapter, TrainingProgress
from star_engine.record import NO_OPTIMIZER, Built, Origin, Provenance, ThoughtRecord, Verifier
from star_engine.resume_points import remove_ahead
from star_engine.run_candidates import CandidateFiles, DirectoryCandidates
from star_engine.run_directory import (
    JsonLines,
    RunDirectory,
    answer_line,
    check_line,
    lines_of,
    rationale_line,
    reading_line,
    reward_line,
)
from star_engine.run_pairs import DirectoryPairs
from star_engine.run_selections import RunSelections
from star_engine.sampling.labels import guesses_held_out
from star_engine.sampling.rationales import Rationale, RationaleKey, Route, solved_examples
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.programs.tool_use import ToolCounts, ToolUse, count_uses
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.rows import TrainingExample, training_set_sha256
from star_engine.training_set.window import window


@dataclass(frozen=True, slots=True)
class Run:
    """Everything a run needs throughout: config, data, sampler, trainer, directory."""

    config: StarConfig
    train: Sequence[Example]
    held_out: Sequence[Example]  # all of the split
    prompt_set: PromptSet
    directory: RunDirectory
    origin: Origin
    also: Mapping[str, Sequence[Example]]  # by the names of evaluation.also
    mixed: Mapping[str, Sequence[Example]]  # by the names of training_set.mix

    def train_examples(self, iteration: int, part: Slice = Slice()) -> list[Example]:
        """The train examples that a slice of an iteration asks, in the order of the dataset."""
        return [self.train[position] for position in sorted(part.of(self.selections.positions(iteration)))]

    @property
    def selections(self) -> RunSelections:
        """Which train examples each iteration asks."""
        return RunSelections(self.config, self.train, self.directory)

    def asked_examples(self, dataset: str | None) -> list[Example]:
        """The held-out examples that are asked, of the run's own dataset or of another one."""
        examples = self.held_out if dataset is None else self.also[dataset]
        return [examples[position] for position in select_held_out(self.config, len(examples))]

    def selected(self, iteration: int) -> int:
        """How many train examples an iteration asks so far."""
        return len(self.selections.positions(iteration))

    def held_out_count(self, dataset: str | None) -> int:
        return len(self.asked_examples(dataset))


@dataclass(frozen=True, slots=True)
class DirectoryCounts:
    """The counts of one iteration, from its files."""

    run: Run
    iteration: int

    def selected(self) -> int:
        selected = self.selection()
        return self.run.selected(self.iteration) if selected is None else len(selected.used_positions)

    def selection(self) -> Selected | None:
        return self.run.selections.of(self.iteration)

    def verdicts(self) -> dict[str, dict[str, int]]:
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for one in self.run.directory.rationales(self.iteration):
            found[one.key.route][str(one.verdict)] += 1
        return {str(route): dict(counts) for route, counts in found.items()}

    def solved(self) -> int:
        return len(solved_examples(self.run.directory.rationales(self.iteration)))

    def tool_use(self) -> dict[str, ToolCounts]:
        uses: dict[str, list[ToolUse | None]] = defaultdict(list)
        for one in self.run.directory.rationales(self.iteration):
            uses[str(one.key.route)].append(one.tools)
        return {route: count_uses(known) for route, known in uses.items()}

    def reasons(self) -> list[tuple[str, str, int]]:
        decided = self.run.directory.decisions(self.iteration)
        counts = Counter((str(one.key.route), one.reason) for one in decided)
        return [(route, reason, count) for (route, reason), count in counts.items()]

    def covered(self) -> dict[str, int]:
        best: dict[str, str] = {}  # "generated" sorts before "rationalized"
        for one in self.run.directory.decisions(self.iteration):
            if one.kept and one.key.route is not Route.MIXED:
                name = one.key.example_id
                best[name] = min(best.get(name, str(one.key.route)), str(one.key.route))
        return dict(Counter(best.values()))

    def accuracy(self, mode: EvaluationMode, dataset: str | None = None) -> Accuracy:
        return summarise(self.run.directory.answers(self.iteration, mode, dataset))

    def failed(self, mode: EvaluationMode, count: int) -> list[Answered]:
        answers = {one.example_id: one for one in self.run.directory.answers(self.iteration, mode)}
        return [
            Answered(example.question, example.answer, said.text, outcome(said.verdict, said.finish_reason))
            for example in self.run.asked_examples(None)
            if (said := answers.get(example.id)) is not None and said.verdict != VerdictCode.CORRECT
        ][:count]

    def chance(self) -> float:
        held_out = guesses_held_out(self.run.config)
        guessed = self.run.asked_examples(None) if held_out else self.run.train
        return chance_level(self.run.config.kind, guessed)

    def question_curves(self) -> list[QuestionCurves]:
        return CandidateFiles(self.run.directory, self.iteration).question_curves()

    def training(self, role: AdapterRole = AdapterRole.GENERATOR) -> dict[str, Any]:
        return self.run.directory.training_report(self.iteration, role)


@dataclass(slots=True)
class RunRecord:
    """The Record of one slice, in files. `found` collects what the phase adds to the history."""

    run: Run
    iteration: int
    part: Slice
    role: AdapterRole = AdapterRole.GENERATOR  # of the adapter that the phase trains or verifies
    found: dict[str, Any] = field(default_factory=dict)
    _lines: dict[Path, JsonLines] = field(default_factory=dict)

    def examples(self) -> list[Example]:
        if self.part.mode is None:
            return self.run.train_examples(self.iteration, self.part)
        return self.run.asked_examples(self.part.dataset)[self.part.start : self.part.stop]

    def iteration_examples(self, count: int | None = None) -> list[Example]:
        return self.run.train_examples(self.iteration, Slice(0, count))

    def probe_examples(self, count: int) -> list[Example]:
        return (self.run.asked_examples(None) or list(self.run.train))[:count]

    def mix_size(self, dataset: str) -> int:
        return len(self.run.mixed[dataset])

    def mix_examples(self, dataset: str, positions: Sequence[int]) -> list[Example]:
        return [self.run.mixed[dataset][position] for position in positions]

    def verdicts(self) -> dict[RationaleKey, str]:
        return {one.key: one.verdict for one in self.tries()}

    def tries(self, examples: Sequence[str] | None = None) -> list[Rationale]:
        wanted = None if examples is None else set(examples)
        found = self._directory.rationales(self.iteration)
        own = (one for one in found if one.key.route is not Route.PROBE)
        return [one for one in own if wanted is None or one.key.example_id in wanted]

    def failures(self) -> dict[str, int]:
        return self.run.selections.failures(self.iteration)

    def probes(self) -> list[Rationale]:
        found = self._directory.rationales(self.iteration)
        return [one for one in found if one.key.route is Route.PROBE]

    def finish_control(self, found: Mapping[str, Any]) -> None:
        self.close()
        self.found["control"] = dict(found)

    def overrides(self, tries: Sequence[Rationale]) -> dict[RationaleKey, str]:
        return {}

    def before(self) -> Before:
        number = self.iteration - 1
        kept = [one.key for one in self._directory.decisions(number) if one.kept] if number else []
        taught = frozenset(key.example_id for key in kept if key.route is Route.RATIONALIZED)
        known = self._directory.metrics().get(number, {}) if number else {}
        found = known.get("audits", {})
        return Before(taught, found.get("length", {}).get("mean"), found.get("style"))

    def diagnostics(self) -> dict[str, Any]:
        return dict(self._directory.metrics().get(self.iteration, {}).get("audits", {}))

    def add_tries(self, batch: Sequence[Rationale]) -> None:
        self._append(self._directory.rationales_path(self.iteration), map(rationale_line, batch))

    def add_checks(self, found: Mapping[RationaleKey, Mapping[str, bool]]) -> None:
        lines = (check_line(key, results) for key, results in found.items())
        self._append(self._directory.checks_path(self.iteration), lines)

    def add_readings(self, found: Mapping[RationaleKey, Sequence[tuple[int, float]]]) -> None:
        lines = (reading_line(key, points) for key, points in found.items())
        self._append(self._directory.readings_path(self.iteration), lines)

    def add_rewards(self, found: Mapping[RationaleKey, float]) -> None:
        lines = (reward_line(key, reward) for key, reward in found.items())
        self._append(self._directory.rewards_path(self.iteration), lines)

    def surplus(self) -> Set[str]:
        return self.run.selections.surplus(self.iteration)

    def finish_sample(self, found: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> None:
        self.close()
        self.run.selections.record(self.iteration, outcomes)
        if found:
            self.found["audits"] = dict(found)

    def finish_audit(self, found: Mapping[str, Any]) -> None:
        self.found["audits"] = dict(found)

    def finish_build(self, built: Built) -> bool:
        mixed = [one for texts in built.mixed for one in texts]
        self._directory.write_training_set(self.iteration, built.decisions, built.rows, mixed)
        self.found |= {"audits": dict(built.diagnostics), "training_set_sha256": built.sha256}
        if built.diagnosis is not None:
            self.found["diagnosis"] = built.diagnosis
        return True

    def training_sets(self) -> list[tuple[int, list[TrainingExample]]]:
        numbers = window(self.run.config, self.iteration)
        return [(number, self._directory.training_set(number)) for number in numbers]

    def adapter(self, iteration: int) -> Path | None:
        folder = self._directory.adapter(iteration)
        return folder if iteration > 0 and folder.is_dir() else None

    def optimizer(self, iteration: int) -> Path:
        path = self._directory.optimizer_path(iteration)
        if not path.is_file():
            raise BadAdapter(NO_OPTIMIZER.format(iteration=iteration))
        return path

    def verifier(self, name: str) -> Verifier | None:
        for number in range(self.iteration, 0, -1):
            report = self._directory.training_report(number, AdapterRole.VERIFIER)
            if report:
                first = report.get("reference") == "first_iteration"
                folder = self._directory.adapter(number, AdapterRole.VERIFIER)
                reference = self.adapter(1) if first else None
                return Verifier(folder, report["method"], reference, report.get("beta", 0.0))
        return None

    def pairs(self) -> DirectoryPairs:
        return DirectoryPairs(self.run, self.iteration, self.found)

    def thoughts(self) -> ThoughtRecord:
        raise ValueError("As a library Quiet-STaR is a run of its own: python -m star_engine quiet-star.")

    def has_weights(self) -> bool:
        return False  # weights are recorded with the phase's end, and only then

    def weights_folder(self) -> Path:
        return self._directory.adapter(self.iteration, self.role)

    def checkpoints(self) -> Path:
        folder = self._directory.checkpoints(self.iteration, self.role)
        curve = lines_of(self._directory.curve_path(self.iteration, self.role))
        remove_ahead(folder, max((line["step"] for line in curve), default=0))
        return folder

    def keep_checkpoint(self, step: int) -> None:
        """Resume points stay where the trainer writes them."""

    def keep_curve(self, steps: Sequence[TrainingProgress]) -> None:
        with JsonLines(self._directory.curve_path(self.iteration, self.role)) as lines:
            for step in steps:
                lines.append(asdict(step))

    def first_loss(self) -> float | None:
        lines = lines_of(self._directory.curve_path(self.iteration, self.role))
        return next((round(line["loss"], 6) for line in lines if line["step"] == 1), None)

    def finish_training(self, folder: Path | None, report: Mapping[str, Any]) -> None:
        if folder is not None and (folder / OPTIMIZER).exists():  # no file of an adapter's layout
            (folder / OPTIMIZER).replace(self._directory.optimizer_path(self.iteration))
        name = "training" if self.role is AdapterRole.GENERATOR else f"{self.role}_training"
        self.found[name] = dict(report)

    def training_report(self) -> dict[str, Any]:
        return self._directory.training_report(self.iteration, self.role)

    def skip(self) -> None:
        """Nothing is written of a phase that has nothing to do."""

    def draft(self) -> Path:
        return self._directory.adapter(self.iteration, self.role)

    def origin(self) -> Origin:
        return self.run.origin

    def provenance(self) -> Provenance:
        counts = DirectoryCounts(self.run, self.iteration)
        sets = [(number, training_set_sha256(rows)) for number, rows in self.training_sets()]
        return Provenance(counts.selected(), counts.covered(), counts.training(), sets)

    def finish_verification(self, folder: Path, verification: Verification) -> None:
        name = "verification" if self.role is AdapterRole.GENERATOR else f"{self.role}_verification"
        self.found |= {name: asdict(verification)}
        shutil.rmtree(self.checkpoints(), ignore_errors=True)

    def answered(self) -> Set[str]:
        return {answer.example_id for answer in self._answers()}

    def add_answers(self, batch: Sequence[EvaluatedAnswer]) -> None:
        self._append(self._answers_path, map(answer_line, batch))

    def candidates(self) -> DirectoryCandidates:
        files = CandidateFiles(self._directory, self.iteration)
        return DirectoryCandidates(files, self.examples(), self._state_again)

    def finish_evaluation(self, state: Callable[[Path, Evidence], None]) -> None:
        self.close()
        folder = self._directory.adapter(self.iteration)
        own = self.part.mode is EvaluationMode.ADAPTER and self.part.dataset is None
        if own and self._answers() and not is_measured(folder):
            state(folder, self._evidence())

    def _state_again(self, state: Callable[[Path, Evidence], None]) -> None:
        """With what many answers to each question have shown, where all of them are there."""
        state(self._directory.adapter(self.iteration), self._evidence())

    def _measured(self, places: Mapping[str, int]) -> list[Measured]:
        """The base model's and the adapter's many answers to each question, once both are there."""
        test_time = self.run.config.evaluation.test_time
        curves = {n: CandidateFiles(self._directory, n).question_curves() for n in (0, self.iteration)}
        if test_time is None or not curves[self.iteration]:
            return []
        return [
            measured_of(
                number,
                test_time.all_ks,
                {
                    places[one.example_id]: QuestionSpread(
                        one.right, one.solutions, one.entropy, tuple(one.curves.get("pass", ()))
                    )
                    for one in questions
                },
            )
            for number, questions in curves.items()
            if questions
        ]

    def _evidence(self) -> Evidence:
        """What is known of held-out questions up to this iteration, by their places in the selection."""
        config, directory = self.run.config, self._directory
        places = {example.id: place for place, example in enumerate(self.run.asked_examples(None))}
        modes = [(EvaluationMode(mode), 0) for mode in config.evaluation.baselines]
        modes += [(EvaluationMode.ADAPTER, number) for number in range(1, self.iteration + 1)]
        outcomes = [
            Outcomes(
                mode,
                number,
                {
                    places[one.example_id]: one.verdict == VerdictCode.CORRECT
                    for one in directory.answers(number, mode)
                },
            )
            for mode, number in modes
        ]
        curves = CandidateFiles(directory, 0).question_curves()
        voted = ((places[one.example_id], one.answers, one.curves) for one in curves)
        vote = vote_of(config.evaluation.test_time, voted)
        return evidence_so_far(config, outcomes, self.iteration, vote, self._measured(places))

    def close(self) -> None:
        """Write everything through to the disk."""
        for lines in self._lines.values():
            lines.close()
        self._lines.clear()

    @property
    def _directory(self) -> RunDirectory:
        return self.run.directory

    @property
    def _answers_path(self) -> Path:
        assert self.part.mode is not None  # noqa: S101 - the phase has refused such a slice
        return self._directory.answers_path(self.iteration, self.part.mode, self.part.dataset)

    def _answers(self) -> list[EvaluatedAnswer]:
        assert self.part.mode is not None  # noqa: S101
        return self._directory.answers(self.iteration, self.part.mode, self.part.dataset)

    def _append(self, path: Path, written: Iterable[Mapping[str, Any]]) -> None:
        if path not in self._lines:
            self._lines[path] = JsonLines(path)
        for line in written:
            self._lines[path].append(line)
