"""What operators ask of base models over HTTP, done by a worker that may fetch (STAR_MODELS_FETCH)."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path
from types import TracebackType

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.database import reading
from app.ledger.data.base_models import BadModelsFile
from app.ledger.data.examples import each_example
from app.ledger.data.prompt_sets import as_prompt_set
from app.ledger.platform.base_model_tasks import ClaimedTask, claim_task, end_task, renew_task
from app.tables.base import JsonObject
from app.tables.data import PromptSet
from app.tables.statuses import BaseModelTaskKind
from star_engine.config.star import StarConfig
from worker.context import WorkerContext
from worker.hub.add import Wanted, add, downloads, listed_folder
from worker.hub.model_files import Unusable
from worker.hub.try_out import check
from worker.one_machine.own_folder import DEMO_MODELS

log = structlog.get_logger()

REFUSALS = (Unusable, BadModelsFile, OSError, ValueError)  # they say what is wrong, and what would help


def do_next(worker: WorkerContext) -> bool:
    """Do the oldest task that waits, to its end; False where there is none."""
    claimed = claim_task(worker.engine, worker.worker_id, worker.settings.lease_seconds)
    if claimed is None:
        return False
    log.info("base_model_task_started", task=claimed.id, kind=claimed.kind, attempt=claimed.attempt)
    worker.drop_gpu()  # the model to try needs its memory
    error, result = None, None
    with Kept(worker, claimed) as kept:
        try:
            does = _add if claimed.kind == BaseModelTaskKind.ADD else _check
            result = does(worker, claimed, kept)
        except REFUSALS as problem:
            error = str(problem)
        except Exception as problem:
            log.exception("base_model_task_failed", task=claimed.id)
            error = f"{type(problem).__name__}: see the log of {worker.worker_id}."
    end_task(worker.engine, claimed, error=error, result=result)
    log.info("base_model_task_ended", task=claimed.id, failed=error is not None)
    return True


def _add(worker: WorkerContext, claimed: ClaimedTask, kept: Kept) -> JsonObject:
    if worker.settings.models_file == DEMO_MODELS:  # of the project itself: nobody's to write
        raise Unusable(
            "This platform offers the demo's models alone: write a models.yaml, and start it again."
        )
    kept.folder = downloads(worker.settings)
    entry = add(Wanted(**claimed.asked), worker.settings, kept.note).entry
    return entry.model_dump(exclude_defaults=True)


def _check(worker: WorkerContext, claimed: ClaimedTask, kept: Kept) -> JsonObject:
    asked = claimed.asked
    with reading(worker.engine) as session:
        row = session.get(PromptSet, asked["prompt_set"])
        examples = list(islice(each_example(session, asked["dataset"], ["train"]), asked["rows"]))
    if row is None or not examples:
        raise Unusable("The dataset or the prompt set has been deleted since.")
    limits = {"generation": {"max_tokens": asked["max_tokens"]}}
    config = StarConfig.model_validate({"kind": row.kind, **limits})
    kept.note(f"asks {len(examples)} questions")
    folder = listed_folder(asked["model"], worker.settings)
    found = check(folder, worker.settings, config, as_prompt_set(row), examples)
    return {
        "right": found.right,
        "asked": found.asked,
        "chance": found.chance,
        "p_value": found.p_value,
        "diagnosis": found.diagnosis,
    }


class Kept:
    """Renews the claim of a task while it is done, and shows what is done."""

    def __init__(self, worker: WorkerContext, claimed: ClaimedTask) -> None:
        self.worker, self.claimed = worker, claimed
        self.folder: Path | None = None  # whose growth shows how far a download is
        self._doing, self._before = "begins", 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_the_end, name="base-model-task", daemon=True)

    def __enter__(self) -> Kept:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def note(self, doing: str) -> None:
        self._doing, self._before = doing, self._size()
        self._renew()

    def _renew_until_the_end(self) -> None:
        while not self._ended.wait(self.worker.settings.heartbeat_seconds):
            self._renew()

    def _renew(self) -> None:
        grown = self._size() - self._before
        shown = f"{self._doing}, {grown / 1e6:,.0f} MB so far" if grown > 0 else self._doing
        try:
            renew_task(self.worker.engine, self.claimed, self.worker.settings.lease_seconds, shown)
        except SQLAlchemyError as error:
            log.warning("base_model_task_not_renewed", task=self.claimed.id, error=type(error).__name__)

    def _size(self) -> int:
        if self.folder is None or not self.folder.is_dir():
            return 0
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
