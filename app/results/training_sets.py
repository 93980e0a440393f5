"""The training set of an iteration, row by row, as it was trained on or as conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Engine

from app.database import reading
from app.errors import Conflict
from app.ledger.data.chat_templates import prompt_set_of
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.results.iterations import (
    config_of,
    each_trained_example,
    each_training_example,
    get_iteration,
)
from star_engine.training_set.messages import messages_line
from star_engine.training_set.rows import TrainingExample


class TrainingSetFormat(StrEnum):
    JSONL = "jsonl"
    PARQUET = "parquet"
    MESSAGES = "messages"


@dataclass(frozen=True, slots=True)
class FoundTrainingSet:
    """Nothing is read of it before it is asked for; `conversations` are lines of JSON."""

    sha256: str
    rows: Callable[[], Iterator[TrainingExample]]
    conversations: Callable[[], Iterator[str]]


def find_training_set(db: Engine, project_id: str, job_id: str, number: int) -> FoundTrainingSet:
    """Raises Conflict where the iteration has none yet, and, asked for conversations, where the base model's
    template is not here any more.
    """
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        iteration, _ = get_iteration(session, job.id, number)
    if iteration.training_set_sha256 is None:
        raise Conflict(f"Iteration {number} has no training set yet.", code="training_set_not_built")
    config = config_of(job, iteration)

    def conversations() -> Iterator[str]:
        with reading(db) as session:
            prompt_set = prompt_set_of(session, job, config)
        rows = each_trained_example(db, iteration.id, config)
        return (messages_line(config, prompt_set, example, row) for row, example in rows)

    return FoundTrainingSet(
        iteration.training_set_sha256, lambda: each_training_example(db, iteration.id, config), conversations
    )
