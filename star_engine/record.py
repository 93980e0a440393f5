"""What a phase reads and writes, and what its metrics are counted from: files or the tables of a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from star_engine.adapters.layout import BaseModel, Verification
from star_engine.adapters.roles import AdapterRole
from star_engine.data.adaptive import Outcome, Selected
from star_engine.diagnostics.iteration import Before
from star_engine.diagnostics.spark import Answered
from star_engine.evaluation.accuracy import Accuracy, EvaluatedAnswer, EvaluationMode
from star_engine.evaluation.candidates import Candidate, CandidateKey, QuestionCurves, Scored
from star_engine.evaluation.receipt import Evidence
from star_engine.protocols import TrainingProgress
from star_engine.sampling.rationales import Rationale, RationaleKey
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from star_engine.tasks.programs.tool_use import ToolCounts
from star_engine.thoughts import Thought
from star_engine.training_set.mixing import MixSource
from star_engine.training_set.pairs import PairRow, Tried
from star_engine.training_set.rows import Decision, TrainingExample

NO_OPTIMIZER = (
    "Iteration {iteration} has no optimizer state to go on with: it was trained with training.optimizer "
    "fresh, or its weights are deleted. Set training.optimizer to fresh."
)


@dataclass(frozen=True, slots=True)
class Origin:
    """The provenance of an iteration's adapter, as named by its card and manifest."""

    base: BaseModel  # that was trained on
    licence: str | None = None  # of the base model
    base_files: Mapping[str, str] = field(default_factory=dict)  # name to sha256, where they are pinned
    job: str | None = None
    dataset: str | None = None
    prompt_set: str | None = None
    sampled: BaseModel | None = None  # the quantized form that was sampled; None: the base model itself
    sampled_files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provenance:
    """How an iteration's adapter came about."""

    asked: int  # train examples of the iteration
    covered: Mapping[str, int]  # of these, those in its training set, by their best route
    training: Mapping[str, Any]  # the training's report
    training_sets: Sequence[tuple[int, str]]  # iteration and sha256 of each trained on; its own comes last


@dataclass(frozen=True, slots=True)
class Built:
    """A training set, and all that is recorded of how it came about."""

    decisions: Sequence[Decision]  # on own and mixed rationales
    rows: Sequence[TrainingExample]
    mixed: Sequence[Sequence[Rationale]]  # the rationales that each dataset of training_set.mix gives
    sha256: str  # of the rows
    diagnosis: str | None  # why too little was kept; None: enough was
    diagnostics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verifier:
    """An adapter that ranks answers, and how it was trained."""

    folder: Path
    method: str  # dpo | yes_no
    reference: Path | None  # the adapter that a DPO verifier is compared with; None: the base model
    beta: float = 0.1  # of DPO


class Record(MixSource, Protocol):
    """What one slice of a phase reads and writes. Every `finish_...` makes the slice's last effect.

    A service writes each effect in one transaction that first checks that the slice is still this worker's,
    and raises where it is not. Effects that are repeated are recorded once.
    """

    def examples(self) -> Sequence[Example]:
        """The examples of the slice: of the train split, or held out where the slice has a mode."""

    def iteration_examples(self, count: int | None = None) -> Sequence[Example]:
        """The train examples that the iteration asks, in order; `count`: only so many of the first."""

    def probe_examples(self, count: int) -> Sequence[Example]:
        """Up to so many held-out examples to try an adapter on."""

    def verdicts(self) -> Mapping[RationaleKey, str]:
        """Verdicts of the tries at the slice's examples that are recorded already, without its probes."""

    def tries(self, examples: Sequence[str] | None = None) -> Sequence[Rationale]:
        """The iteration's tries without its probes; `examples`: only those at these, by id."""

    def failures(self) -> Mapping[str, int]:
        """How many iterations in a row, of those before that asked it, have found no right try without a hint
        at an example, by its id. Only where the run records its selections.
        """

    def probes(self) -> Sequence[Rationale]:
        """The probes of the iteration's controller."""

    def finish_control(self, found: Mapping[str, Any]) -> None:
        """Keep what the controller has found, as the iteration's metrics `control`."""

    def overrides(self, tries: Sequence[Rationale]) -> Mapping[RationaleKey, str]:
        """Verdicts of people that replace those of the verifier."""

    def before(self) -> Before:
        """What the diagnostics of this iteration need of the one before."""

    def diagnostics(self) -> Mapping[str, Any]:
        """What the iteration's diagnostics have found so far."""

    def add_tries(self, batch: Sequence[Rationale]) -> None: ...

    def add_checks(self, found: Mapping[RationaleKey, Mapping[str, bool]]) -> None: ...

    def add_rewards(self, found: Mapping[RationaleKey, float]) -> None:
        """Keep what the controller's scorer says of recorded tries or probes."""

    def add_readings(self, found: Mapping[RationaleKey, Sequence[tuple[int, float]]]) -> None:
        """Keep how likely the iteration's adapter finds the answers of recorded tries after each sentence."""

    def surplus(self) -> Set[str]:
        """Ids of the examples that were asked beyond what the iteration's training set needs."""

    def finish_sample(self, found: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> None:
        """Keep what the diagnostics found, and where examples are selected by it what became of each of the
        slice's; the slice is sampled.
        """

    def finish_audit(self, found: Mapping[str, Any]) -> None:
        """Keep what a diagnostic of its own phase found, with the iteration's other audits."""

    def finish_build(self, built: Built) -> bool:
        """Record the training set. False if an override arrived meanwhile: then read and build again."""

    def training_sets(self) -> Sequence[tuple[int, Sequence[TrainingExample]]]:
        """The training sets that this iteration trains on, each with its iteration, oldest first."""

    def adapter(self, iteration: int) -> Path | None:
        """A folder with the config and the weights of an iteration's adapter; None where there is none."""

    def optimizer(self, iteration: int) -> Path:
        """The optimizer state with which an iteration's training has ended, where it is carried on.

        Raises BadAdapter where there is none: a fresh one in its place would change what is learned.
        """

    def verifier(self, name: str) -> Verifier | None:
        """The newest verifier of the run so far ("verifier"), or another job's by its adapter's id.

        None where the run has none yet. Raises ValueError for another job's that cannot be had.
        """

    def pairs(self) -> PairRecord:
        """The pairs of right and wrong tries that this iteration learns from."""

    def thoughts(self) -> ThoughtRecord:
        """What Quiet-STaR reads and writes besides."""

    def has_weights(self) -> bool:
        """Whether an earlier attempt has recorded this iteration's weights, of the phase's role."""

    def weights_folder(self) -> Path:
        """Return where the trainer writes this iteration's weights."""

    def checkpoints(self) -> Path:
        """The folder of the trainer's resume points, with the newest recorded one in it and none ahead of the
        recorded curve.
        """

    def keep_checkpoint(self, step: int) -> None:
        """Keep the resume point of this optimizer step, if the trainer has left one."""

    def keep_curve(self, steps: Sequence[TrainingProgress]) -> None:
        """Keep these optimizer steps of the training curve, in place of what an attempt before kept from the
        first of them on. Called at resume points and at the end, not with every step.
        """

    def first_loss(self) -> float | None:
        """The loss of the training's first step, where an attempt before has kept it."""

    def finish_training(self, folder: Path | None, report: Mapping[str, Any]) -> None:
        """Record the weights in `folder`, with the training's report. None: they are recorded already."""

    def training_report(self) -> Mapping[str, Any]:
        """The report of the iteration's training, of the phase's role."""

    def draft(self) -> Path:
        """A folder with the iteration's weights in which its card and manifest may be written."""

    def origin(self) -> Origin: ...

    def provenance(self) -> Provenance: ...

    def finish_verification(self, folder: Path, verification: Verification) -> None:
        """Publish the files of `folder`."""

    def skip(self) -> None:
        """There is nothing for the phase to do; the slice is done."""

    def answered(self) -> Set[str]:
        """Ids of the slice's examples that are answered already."""

    def add_answers(self, batch: Sequence[EvaluatedAnswer]) -> None: ...

    def candidates(self) -> CandidateRecord:
        """The slice's answers, where each question is answered many times."""

    def finish_evaluation(self, state: Callable[[Path, Evidence], None]) -> None:
        """The slice is answered. After an adapter's last one, `state` writes what was measured into its
        files: it is given their folder, and all outcomes on held-out questions up to this iteration.
        """


class PairRecord(Protocol):
    """What a slice reads and writes of preference pairs."""

    def examples(self) -> Sequence[Example]:
        """The train examples that have been asked in this iteration or one before, in the dataset's order."""

    def tries(self) -> Sequence[Tried]:
        """Their tries, those of all iterations so far, with the verdicts of people in place of others."""

    def recorded(self) -> Sequence[PairRow]:
        """The recorded pairs, by position."""

    def add(self, rows: Sequence[PairRow], facts: Mapping[str, Any]) -> None:
        """Record all pairs and their figures as one effect."""

    def add_references(self, found: Mapping[int, tuple[float, float]]) -> None:
        """Keep how likely the reference model finds both texts of recorded pairs, by position."""

    def finish(self) -> None: ...


class ThoughtRecord(Protocol):
    """What a slice of Quiet-STaR reads and writes."""

    def documents(self, which: Literal["train", "held_out"]) -> tuple[Path, int]:
        """A JSONL file of documents with `text`, in the dataset's order, and how many they are."""

    def texts(self, count: int) -> Sequence[str]:
        """Up to so many held-out documents, to try an adapter on."""

    def adapter(self, iteration: int) -> Path | None:
        """A folder with the weights of an iteration's adapter of the role quiet; None where there is none."""

    def questions(self, dataset: str, count: int) -> tuple[Kind, Sequence[Example]]:
        """Kind and held-out questions of another dataset, up to so many, the same in every iteration."""

    def answered(self, dataset: str, mode: EvaluationMode, examples: Sequence[Example]) -> Mapping[str, str]:
        """The verdicts of answers to these questions that are recorded, by example id."""

    def add_answers(self, dataset: str, mode: EvaluationMode, batch: Sequence[EvaluatedAnswer]) -> None: ...

    def finish_evaluation(
        self, facts: Mapping[str, Any], thoughts: Sequence[Thought], state: Callable[[Path], None]
    ) -> None:
        """Keep what was measured, as the iteration's metrics `thinking`, and thoughts to be read. `state`
        writes what was measured into the adapter's files: it is given their folder.
        """


class CandidateRecord(Protocol):
    """What a slice reads and writes of candidates: many answers to each of its held-out questions."""

    def examples(self) -> Sequence[Example]:
        """The held-out examples of the slice."""

    def recorded(self) -> Sequence[Candidate]:
        """The candidates of these examples that are recorded, with their scores, by example and sample."""

    def add(self, batch: Sequence[Candidate]) -> None: ...

    def add_scores(self, scorer: str, found: Mapping[CandidateKey, Scored]) -> None:
        """Keep what a scorer says of recorded candidates."""

    def finish(
        self,
        questions: Sequence[QuestionCurves],
        state: Callable[[Path, Evidence], None] | None = None,
    ) -> None:
        """Keep what the candidates of each question come to; the slice is done. After an adapter's last one,
        `state` writes what was measured into its files, as in `finish_evaluation`.
        """


class Counts(Protocol):
    """The recorded counts of one iteration, on which all of a phase's metrics depend."""

    def selected(self) -> int:
        """How many train examples the iteration asks, without those beyond what it needs."""

    def selection(self) -> Selected | None:
        """The iteration's selection, where it is recorded."""

    def verdicts(self) -> Mapping[str, Mapping[str, int]]:
        """Tries by route and verdict."""

    def solved(self) -> int:
        """Examples with a correct generated try."""

    def tool_use(self) -> Mapping[str, ToolCounts]:
        """How the tries of each route use their tool."""

    def reasons(self) -> Sequence[tuple[str, str, int]]:
        """Decided tries by route and reason."""

    def covered(self) -> Mapping[str, int]:
        """Examples with a kept try by their best route; mixed ones are left out."""

    def accuracy(self, mode: EvaluationMode, dataset: str | None = None) -> Accuracy:
        """Return the accuracy in this mode; `dataset` names another dataset that is evaluated as well."""

    def failed(self, mode: EvaluationMode, count: int) -> Sequence[Answered]:
        """Up to so many held-out examples that were not answered right in this mode, the first ones."""

    def chance(self) -> float:
        """The accuracy of guessing on this data, 0 to 1."""

    def question_curves(self) -> Sequence[QuestionCurves]:
        """What the candidates of each held-out question come to, in the order of the examples."""

    def training(self, role: AdapterRole = AdapterRole.GENERATOR) -> Mapping[str, Any]:
        """The report of the iteration's training of this role; empty where there is none."""
