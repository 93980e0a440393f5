"""The ThoughtRecord of a service: documents, adapters that think and their thoughts, behind the fence."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.failpoints import failpoint
from app.ledger.data.examples import each_example, load_examples, split_size
from app.ledger.queue.steps import Claim
from app.ledger.quiet_star.thoughts import record_thoughts
from app.ledger.results.adapters import find_adapter, record_measured
from app.ledger.results.answers import recorded_mode
from app.ledger.results.evaluations import evaluated_verdicts, record_evaluations
from app.tables.data import Dataset
from star_engine.adapters.roles import AdapterRole
from star_engine.data.documents import write_documents
from star_engine.data.selection import select_examples
from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from star_engine.thoughts import Thought
from worker.adapter_files import rewritten
from worker.context import WorkerContext


@dataclass(frozen=True, slots=True)
class LedgerThoughts:
    """What one claimed step reads and writes. `folder`: of the step's own, for documents on their way."""

    worker: WorkerContext
    claim: Claim
    folder: Path
    finish: Callable[[Session], None]
    _row_ids: dict[str, dict[str, int]] = field(default_factory=dict)  # of questions, by dataset, example id

    def documents(self, which: Literal["train", "held_out"]) -> tuple[Path, int]:
        split = "train" if which == "train" else self.claim.config.evaluation.split
        path = self.folder / f"{which}.jsonl"
        with reading(self.worker.engine) as session:
            found = each_example(session, self.claim.dataset_id, [split])
            return path, write_documents(path, (one.question for one in found))

    def texts(self, count: int) -> list[str]:
        with reading(self.worker.engine) as session:
            split = self.claim.config.evaluation.split
            return [one.question for one in each_example(session, self.claim.dataset_id, [split], count)]

    def adapter(self, iteration: int) -> Path | None:
        with reading(self.worker.engine) as session:
            found = find_adapter(session, self.claim.job_id, iteration, AdapterRole.QUIET)
        return None if found is None else self.worker.unpack(found)

    def questions(self, dataset: str, count: int) -> tuple[Kind, Sequence[Example]]:
        config = self.claim.config
        with reading(self.worker.engine) as session:
            split = config.evaluation.split
            chosen = select_examples(split_size(session, dataset, split), count, config.seed, iteration=0)
            rows = load_examples(session, dataset, split, chosen)
            self._row_ids[dataset] = {example.id: row_id for row_id, example in rows}
            return session.get_one(Dataset, dataset).kind, [example for _, example in rows]

    def answered(self, dataset: str, mode: EvaluationMode, examples: Sequence[Example]) -> Mapping[str, str]:
        names = {self._row_ids[dataset][one.id]: one.id for one in examples}
        with reading(self.worker.engine) as session:
            return evaluated_verdicts(session, self.claim, recorded_mode(mode, dataset), names)

    def add_answers(self, dataset: str, mode: EvaluationMode, batch: Sequence[EvaluatedAnswer]) -> None:
        with transaction(self.worker.engine) as session:
            record_evaluations(
                session, self.claim, recorded_mode(mode, dataset), batch, self._row_ids[dataset]
            )
        failpoint("evaluate.after_record")

    def finish_evaluation(
        self, facts: Mapping[str, Any], thoughts: Sequence[Thought], state: Callable[[Path], None]
    ) -> None:
        claim = self.claim
        with reading(self.worker.engine) as session:
            adapter = find_adapter(session, claim.job_id, claim.iteration, AdapterRole.QUIET)
        stated: list[dict[str, Any]] = []
        if adapter is not None:
            cards = self.folder / "cards"
            stated = rewritten(self.worker.storage, adapter.files, cards, lambda: state(cards))
        failpoint("evaluate.before_record")
        with transaction(self.worker.engine) as session:
            record_thoughts(session, claim, facts, thoughts)
            if stated:
                record_measured(session, claim, stated, AdapterRole.QUIET)
            self.finish(session)
        failpoint("evaluate.after_finish")
        shutil.rmtree(self.folder, ignore_errors=True)
