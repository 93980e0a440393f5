"""The CandidateRecord of a service: many answers to held-out questions, behind the fence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy.orm import Session

from app.database import reading
from app.ledger.queue.steps import Claim
from app.ledger.results.adapters import answering_model
from app.ledger.results.candidates import (
    record_candidates,
    record_question_curves,
    record_scores,
    recorded_candidates,
)
from star_engine.evaluation.candidates import Candidate, CandidateKey, QuestionCurves, Scored
from star_engine.evaluation.receipt import Evidence
from star_engine.tasks.examples import Example
from worker.context import WorkerContext

Transaction = Callable[[], AbstractContextManager[Session]]


@dataclass(slots=True)
class LedgerCandidates:
    """The candidates of one claimed step. It remembers their row ids between a read and a write."""

    worker: WorkerContext
    claim: Claim
    asked: Sequence[Example]
    row_ids: Mapping[str, int]  # by example id
    recording: Transaction  # records a batch
    measured: Callable[[Callable[[Path, Evidence], None] | None], None]  # is the step's last effect
    _rows: dict[CandidateKey, tuple[int, Candidate]] = field(default_factory=dict)

    def examples(self) -> Sequence[Example]:
        return self.asked

    def recorded(self) -> list[Candidate]:
        names = {row_id: name for name, row_id in self.row_ids.items()}
        with reading(self.worker.engine) as session:
            rows = list(recorded_candidates(session, self.claim, names))
        self._rows = {one.key: (row_id, one) for row_id, one in rows}
        return [one for _, one in rows]

    def add(self, batch: Sequence[Candidate]) -> None:
        claim = self.claim
        with self.recording() as session:
            _, adapter_id = answering_model(session, claim.job_id, claim.model_id, claim.iteration)
            record_candidates(session, claim, batch, self.row_ids, adapter_id)

    def add_scores(self, scorer: str, found: Mapping[CandidateKey, Scored]) -> None:
        scored = {}
        for key, score in found.items():
            row_id, one = self._rows[key]
            scores = {**one.scores, scorer: score}
            self._rows[key] = (row_id, replace(one, scores=scores))
            scored[row_id] = scores
        with self.recording() as session:
            record_scores(session, self.claim, scored)

    def finish(
        self,
        questions: Sequence[QuestionCurves],
        state: Callable[[Path, Evidence], None] | None = None,
    ) -> None:
        with self.recording() as session:
            record_question_curves(session, self.claim, questions, self.row_ids)
        self.measured(state)
