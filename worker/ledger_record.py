"""The Record of a service: what a claimed step reads and writes in the ledger.

Every effect is one transaction that first checks the fence, so each of them raises Fenced where the step is
no longer this worker's. Failpoints stand at every boundary between what is durable and what is not yet.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.failpoints import failpoint
from app.ledger.data.examples import load_examples, split_size
from app.ledger.jobs.trials import Asked, open_questions, record_trial_answer
from app.ledger.quality.receipts import read_evidence
from app.ledger.queue.steps import Claim, check_fence, finish_step
from app.ledger.queue.waves import asked_positions, failures_before, record_outcomes, selection_of
from app.ledger.results.adapters import (
    answering_model,
    find_adapter,
    record_adapter,
    record_measured,
    record_verification,
    verifier_to_ask,
)
from app.ledger.results.answers import recorded_mode
from app.ledger.results.counts import IterationCounts
from app.ledger.results.curves import curve_end, curve_start, record_curve
from app.ledger.results.diagnostics import audited_before, record_audits, record_control, recorded_audits
from app.ledger.results.evaluations import evaluated_ids, measures_last, record_evaluations
from app.ledger.results.iterations import iterations_among
from app.ledger.results.mixing import record_mixed
from app.ledger.results.overrides import Overrides, newest_override, read_overrides, record_overruled
from app.ledger.results.rationales import (
    claimed_iteration,
    iteration_tries,
    record_checks,
    record_rationales,
    record_readings,
    record_rewards,
    record_training_set,
    recorded_verdicts,
    trained_rows,
)
from app.ledger.transitions import lock_job
from app.tables.base import JsonObject
from app.tables.data import Model
from app.tables.jobs import Iteration, Job
from app.tables.overrides import Override
from app.tables.rationales import Adapter
from star_engine.adapters.layout import (
    CONFIG,
    HEAD,
    LAYOUT,
    OPTIMIZER,
    QUIET_LAYOUT,
    THINKING,
    WEIGHTS,
    BaseModel,
    Verification,
)
from star_engine.adapters.roles import AdapterRole
from star_engine.data.adaptive import Outcome
from star_engine.diagnostics.iteration import Before
from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode, select_held_out
from star_engine.evaluation.receipt import Evidence
from star_engine.loop import PhaseName
from star_engine.phases.phase import Slice
from star_engine.phases.table import phase_of
from star_engine.protocols import BadAdapter, TrainingProgress
from star_engine.record import NO_OPTIMIZER, Built, Origin, Provenance, Verifier
from star_engine.sampling.rationales import Rationale, RationaleKey
from star_engine.tasks.examples import Example
from star_engine.training_set.rows import TrainingExample
from star_engine.training_set.window import window
from worker.adapter_files import publish, rewritten
from worker.checkpoints import Checkpoints
from worker.context import WorkerContext
from worker.records.candidates import LedgerCandidates
from worker.records.pairs import LedgerPairs
from worker.records.thoughts import LedgerThoughts

ASKED: dict[EvaluationMode, Asked] = {
    EvaluationMode.FEW_SHOT_COT: "base",
    EvaluationMode.ADAPTER: "adapter",
}  # whom a trial asks, in the words of its row


@dataclass(slots=True)
class LedgerRecord:
    """The Record of one claimed step. It caches the row ids of the examples and tries it has read."""

    worker: WorkerContext
    claim: Claim
    part: Slice
    _row_ids: dict[str, int] = field(default_factory=dict)  # of the slice's examples, by example id
    _positions: dict[str, int] = field(default_factory=dict)  # the same in their split
    _try_ids: dict[RationaleKey, int] = field(default_factory=dict)
    _mixed_ids: dict[str, dict[str, int]] = field(default_factory=dict)  # by dataset, then example id
    _overrides: Overrides = field(default_factory=lambda: Overrides(0, {}))
    _overruling: dict[RationaleKey, Override] = field(default_factory=dict)
    _checkpoints: Checkpoints | None = None

    def examples(self) -> list[Example]:
        config, dataset_id = self.claim.config, self.part.dataset or self.claim.dataset_id
        with self._reading() as session:
            if self.part.mode is None:
                split, positions = "train", sorted(self.part.of(self._selected(session)))
            else:
                split = config.evaluation.split
                held_out = select_held_out(config, split_size(session, dataset_id, split))
                positions = list(self.part.of(held_out))
            rows = load_examples(session, dataset_id, split, positions)
        self._positions = {one.id: position for (_, one), position in zip(rows, positions, strict=True)}
        self._row_ids = {example.id: row_id for row_id, example in rows}
        return [example for _, example in rows]

    def iteration_examples(self, count: int | None = None) -> list[Example]:
        with self._reading() as session:
            return self._load(session, self.claim.dataset_id, "train", self._selected(session)[:count])

    def probe_examples(self, count: int) -> list[Example]:
        config, dataset_id = self.claim.config, self.claim.dataset_id
        split = config.evaluation.split
        with self._reading() as session:
            positions = select_held_out(config, split_size(session, dataset_id, split))[:count]
            if not positions:
                return self._load(session, dataset_id, "train", self._selected(session)[:count])
            return self._load(session, dataset_id, split, positions)

    def mix_size(self, dataset: str) -> int:
        with self._reading() as session:
            return split_size(session, dataset, "train")

    def mix_examples(self, dataset: str, positions: Sequence[int]) -> list[Example]:
        with self._reading() as session:
            rows = load_examples(session, dataset, "train", positions)
        self._mixed_ids[dataset] = {example.id: row_id for row_id, example in rows}
        return [example for _, example in rows]

    def verdicts(self) -> dict[RationaleKey, str]:
        with self._reading() as session:
            return recorded_verdicts(session, self.claim, self._names())

    def tries(self, examples: Sequence[str] | None = None) -> list[Rationale]:
        ids = None if examples is None else [self._row_ids[name] for name in examples]
        with self._reading() as session:
            rows = list(iteration_tries(session, self.claim, ids))
        self._try_ids |= {one.key: row_id for row_id, one in rows}
        return [one for _, one in rows]

    def overrides(self, tries: Sequence[Rationale]) -> dict[RationaleKey, str]:
        with self._reading() as session:
            self._overrides = read_overrides(session, self.claim.job_id)
        self._overruling = self._overrides.of(tries)
        return {key: override.verdict for key, override in self._overruling.items()}

    def before(self) -> Before:
        with self._reading() as session:
            return audited_before(session, self.claim)

    def diagnostics(self) -> dict[str, Any]:
        with self._reading() as session:
            return recorded_audits(session, self.claim)

    def add_tries(self, batch: Sequence[Rationale]) -> None:
        with self._recording() as session:
            claim = self.claim
            _, adapter_id = answering_model(session, claim.job_id, claim.model_id, claim.iteration - 1)
            record_rationales(session, self.claim, batch, self._row_ids, adapter_id)

    def add_checks(self, found: Mapping[RationaleKey, Mapping[str, bool]]) -> None:
        with transaction(self.worker.engine) as session:
            record_checks(session, self.claim, {self._try_ids[key]: one for key, one in found.items()})

    def failures(self) -> dict[str, int]:
        with self._reading() as session:
            found = failures_before(session, self.claim.job_id, self.claim.iteration)
        return {name: found.get(position, 0) for name, position in self._positions.items()}

    def add_rewards(self, found: Mapping[RationaleKey, float]) -> None:
        with transaction(self.worker.engine) as session:
            record_rewards(session, self.claim, {self._try_ids[key]: one for key, one in found.items()})
        failpoint(f"{self.claim.phase}.rewarded")

    def add_readings(self, found: Mapping[RationaleKey, Sequence[tuple[int, float]]]) -> None:
        with self._recording() as session:
            record_readings(session, self.claim, {self._try_ids[key]: one for key, one in found.items()})

    def probes(self) -> list[Rationale]:
        with self._reading() as session:
            rows = list(iteration_tries(session, self.claim, probes=True))
        self._try_ids |= {one.key: row_id for row_id, one in rows}
        return [one for _, one in rows]

    def finish_control(self, found: Mapping[str, Any]) -> None:
        with self._finishing() as session:
            record_control(session, self.claim, found)

    def surplus(self) -> Set[str]:
        claim = self.claim
        with self._reading() as session:
            selected = selection_of(session, claim.job_id, claim.iteration)
            if selected is None or not selected.surplus:
                return frozenset()
            return {one.id for one in self._load(session, claim.dataset_id, "train", selected.surplus)}

    def finish_sample(self, found: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> None:
        with self._finishing() as session:
            if found:
                record_audits(session, self.claim, found)
            if outcomes:
                lock_job(session, self.claim.job_id)  # as finish_step, in this transaction too
                check_fence(session, self.claim)
                by_position = {self._positions[name]: one for name, one in outcomes.items()}
                record_outcomes(claimed_iteration(session, self.claim), by_position)

    def finish_audit(self, found: Mapping[str, Any]) -> None:
        with self._finishing() as session:
            record_audits(session, self.claim, found)

    def finish_build(self, built: Built) -> bool:
        claim, read = self.claim, self._overrides
        with transaction(self.worker.engine) as session:
            lock_job(session, claim.job_id)  # as an override does: it comes before this or after
            if newest_override(session, claim.job_id) != read.newest:
                return False
            mixes = [self._mixed_ids.get(mix.dataset, {}) for mix in claim.config.training_set.mix]
            mixed = list(zip(built.mixed, mixes, strict=True))
            row_ids = self._try_ids | record_mixed(session, claim, mixed)
            record_training_set(
                session, claim, row_ids, built.decisions, built.rows, built.sha256, built.diagnosis
            )
            record_overruled(session, row_ids, self._overruling)
            record_audits(session, claim, built.diagnostics)
            self._finish(session)
        failpoint("build.after_finish")
        return True

    def training_sets(self) -> list[tuple[int, list[TrainingExample]]]:
        with self._reading() as session:
            return [(one.number, trained_rows(session, one.id)) for one in self._window(session)]

    def adapter(self, iteration: int) -> Path | None:
        return self.worker.fetch_adapter(self.claim.job_id, iteration) if iteration > 0 else None

    def optimizer(self, iteration: int) -> Path:
        with self._reading() as session:
            adapter = find_adapter(session, self.claim.job_id, iteration)
        files = {} if adapter is None else {one["path"]: one["sha256"] for one in adapter.files}
        if OPTIMIZER not in files:
            raise BadAdapter(NO_OPTIMIZER.format(iteration=iteration))
        folder = self._folder("training")
        folder.mkdir(parents=True, exist_ok=True)
        self.worker.storage.fetch(files[OPTIMIZER], folder / OPTIMIZER)
        return folder / OPTIMIZER

    def verifier(self, name: str) -> Verifier | None:
        claim = self.claim
        with self._reading() as session:
            found = verifier_to_ask(session, claim.project_id, claim.job_id, claim.iteration, name)
        if found is None:
            return None
        own = found.job_id == claim.job_id and found.training.get("reference") == "first_iteration"
        reference = self.adapter(1) if own else None
        beta = float(found.training.get("beta", 0.0))
        return Verifier(self.worker.unpack(found), str(found.training["method"]), reference, beta)

    def pairs(self) -> LedgerPairs:
        return LedgerPairs(self.worker, self.claim, self._recording, self._finishing)

    def thoughts(self) -> LedgerThoughts:
        return LedgerThoughts(self.worker, self.claim, self._folder("documents"), self._finish)

    def has_weights(self) -> bool:
        with self._reading() as session:
            return self._own_adapter(session) is not None

    def weights_folder(self) -> Path:
        """Return a folder for this attempt alone, so that writes of an attempt that lost its lease are never
        published.
        """
        return self._folder("training") / f"adapter-{self.claim.fence}"

    def checkpoints(self) -> Path:
        folder = self._folder("training") / "checkpoints"
        self._checkpoints = Checkpoints(self.worker, self.claim, folder)
        with self._reading() as session:
            recorded = curve_end(session, self.claim, self._role)
        self._checkpoints.fetch(recorded)
        failpoint(f"{self.claim.phase}.before_training")
        return folder

    def keep_checkpoint(self, step: int) -> None:
        failpoint(f"{self.claim.phase}.step")
        if self._checkpoints is not None:
            self._checkpoints.keep(step)

    def keep_curve(self, steps: Sequence[TrainingProgress]) -> None:
        with transaction(self.worker.engine) as session:
            record_curve(session, self.claim, steps, self._role)

    def first_loss(self) -> float | None:
        with self._reading() as session:
            return curve_start(session, self.claim, self._role)

    def finish_training(self, folder: Path | None, report: Mapping[str, Any]) -> None:
        names = [] if folder is None else [folder / CONFIG, folder / WEIGHTS]
        if folder is not None:
            names += [folder / name for name in (HEAD, THINKING, OPTIMIZER) if (folder / name).exists()]
        files = [publish(self.worker.storage, path) for path in names]
        failpoint(f"{self.claim.phase}.before_record")
        with self._finishing() as session:
            if files:
                record_adapter(session, self.claim, files, dict(report), self._role)
        shutil.rmtree(self._folder("training"), ignore_errors=True)

    def training_report(self) -> dict[str, Any]:
        with self._reading() as session:
            adapter = self._own_adapter(session)
        return {} if adapter is None else dict(adapter.training)

    def skip(self) -> None:
        with self._finishing():
            pass

    def draft(self) -> Path:
        with self._reading() as session:
            adapter = self._own_adapter(session)
        if adapter is None:
            raise RuntimeError(f"iteration {self.claim.iteration} has no {self._role}")
        published = self.worker.unpack(adapter)
        folder = self._folder("verification")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(published, folder)
        return folder

    def origin(self) -> Origin:
        with self._reading() as session:
            model = session.get_one(Model, self.claim.model_id)
            twin = None if model.trained_as is None else session.get_one(Model, model.trained_as)
            trained = twin or model
            return Origin(
                base=_named(trained),
                licence=trained.license,
                base_files=trained.files,
                sampled=None if twin is None else _named(model),
                sampled_files={} if twin is None else model.files,
                job=self.claim.job_id,
                dataset=self.claim.dataset_id,
                prompt_set=self.claim.prompt_set_id,
            )

    def provenance(self) -> Provenance:
        with self._reading() as session:
            job = session.get_one(Job, self.claim.job_id)
            counts = IterationCounts(session, job, claimed_iteration(session, self.claim))
            sets = [(one.number, one.training_set_sha256 or "") for one in self._window(session)]
            return Provenance(counts.selected(), counts.covered(), counts.training(), sets)

    def finish_verification(self, folder: Path, verification: Verification) -> None:
        layout = QUIET_LAYOUT if self._role is AdapterRole.QUIET else LAYOUT
        files = [publish(self.worker.storage, folder / name) for name in sorted(layout)]
        failpoint(f"{self.claim.phase}.before_record")
        with self._finishing() as session:
            record_verification(session, self.claim, files, asdict(verification), self._role)
        shutil.rmtree(folder, ignore_errors=True)

    def answered(self) -> Set[str]:
        with self._reading() as session:
            return evaluated_ids(session, self.claim, self._mode, self._names())

    def add_answers(self, batch: Sequence[EvaluatedAnswer]) -> None:
        with self._recording() as session:
            record_evaluations(session, self.claim, self._mode, batch, self._row_ids)

    def candidates(self) -> LedgerCandidates:
        asked = self.examples()
        return LedgerCandidates(
            self.worker, self.claim, asked, self._row_ids, self._recording, self._finish_measured
        )

    def finish_evaluation(self, state: Callable[[Path, Evidence], None]) -> None:
        self._finish_measured(state if self.claim.phase == PhaseName.EVALUATE else None)

    def _finish_measured(self, state: Callable[[Path, Evidence], None] | None) -> None:
        """Finish the step; if it is the last one that measures the adapter, with the receipt stated. Steps
        that end at once check under the job's lock; what ended while the receipt was written is stated too.
        """
        stated: list[JsonObject] = []
        measured: frozenset[PhaseName] = frozenset()
        finished = False
        while not finished:
            with transaction(self.worker.engine) as session:
                complete = frozenset() if state is None else measures_last(session, self.claim)
                finished = complete <= measured
                if finished:
                    if stated and complete == measured:
                        record_measured(session, self.claim, stated)
                    self._finish(session)
            if not finished and state is not None:
                stated, measured = self._state_receipt(state, complete), complete
        failpoint(f"{self.claim.phase}.after_finish")

    def questions(self, mode: EvaluationMode) -> list[Example]:
        with self._reading() as session:
            return list(open_questions(session, self.claim, ASKED[mode]).values())

    def add_trial_answers(self, mode: EvaluationMode, batch: Sequence[EvaluatedAnswer]) -> None:
        with transaction(self.worker.engine) as session:
            for answer in batch:
                record_trial_answer(session, self.claim, ASKED[mode], answer)

    def finish_trial(self) -> None:
        with self._finishing():
            pass

    def _state_receipt(
        self, state: Callable[[Path, Evidence], None], complete: frozenset[PhaseName]
    ) -> list[JsonObject]:
        """Card and manifest with what the complete phases measured; none where the adapter is gone."""
        claim = self.claim
        with self._reading() as session:
            adapter = find_adapter(session, claim.job_id, claim.iteration)
            job, many = session.get_one(Job, claim.job_id), PhaseName.TEST_TIME in complete
            evidence = read_evidence(session, job, claim.iteration, many_answers=many)
        if evidence is None or adapter is None:
            return []
        folder = self._folder("cards")
        return rewritten(self.worker.storage, adapter.files, folder, lambda: state(folder, evidence))

    def _reading(self) -> AbstractContextManager[Session]:
        return reading(self.worker.engine)

    @contextmanager
    def _recording(self) -> Iterator[Session]:
        """A transaction that records a batch."""
        with transaction(self.worker.engine) as session:
            yield session
            failpoint(f"{self.claim.phase}.before_record")
        failpoint(f"{self.claim.phase}.after_record")

    @contextmanager
    def _finishing(self) -> Iterator[Session]:
        """The step's last transaction."""
        with transaction(self.worker.engine) as session:
            yield session
            self._finish(session)
        failpoint(f"{self.claim.phase}.after_finish")

    def _finish(self, session: Session) -> None:
        finish_step(session, self.claim, self.worker.settings)
        failpoint(f"{self.claim.phase}.before_finish")

    def _own_adapter(self, session: Session) -> Adapter | None:
        """The claimed iteration's adapter of the phase's role."""
        return find_adapter(session, self.claim.job_id, self.claim.iteration, self._role)

    @property
    def _role(self) -> AdapterRole:
        return phase_of(self.claim.config, self.claim.phase).role

    def _folder(self, purpose: str) -> Path:
        return self.worker.folder / purpose / self.claim.step_id

    def _selected(self, session: Session) -> Sequence[int]:
        claim = self.claim
        return asked_positions(session, claim.job_id, claim.dataset_id, claim.config, claim.iteration)

    def _window(self, session: Session) -> Sequence[Iteration]:
        return iterations_among(session, self.claim.job_id, window(self.claim.config, self.claim.iteration))

    def _load(self, session: Session, dataset_id: str, split: str, positions: Sequence[int]) -> list[Example]:
        return [example for _, example in load_examples(session, dataset_id, split, positions)]

    def _names(self) -> dict[int, str]:
        return {row_id: name for name, row_id in self._row_ids.items()}

    @property
    def _mode(self) -> str:
        if self.part.mode is None:
            raise ValueError(f"step {self.claim.step_id} does not say how its examples are asked")
        return recorded_mode(self.part.mode, self.part.dataset)


def _named(model: Model) -> BaseModel:
    """How adapters name it as their base."""
    return BaseModel(model.repository or model.id, model.revision)
