"""A training set as preferences: what was kept, and what was wrong at the same question."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from sqlalchemy import Engine

from app.database import reading
from app.errors import Conflict
from app.ledger.data.chat_templates import prompt_set_of
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.results.iterations import config_of, each_with_wrong_tries, get_iteration
from star_engine.data.prompts import render_completion

Shape = Literal["dpo", "kto"]
Row = dict[str, Any]


def read_pairs(db: Engine, project_id: str, job_id: str, number: int, shape: Shape) -> Iterator[Row]:
    """The rows in the training set's order. Raises Conflict where there is none yet."""
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        iteration, _ = get_iteration(session, job.id, number)
        if iteration.training_set_sha256 is None:
            raise Conflict(f"Iteration {number} has no training set yet.", code="training_set_not_built")
        config = config_of(job, iteration)
        chat = prompt_set_of(session, job, config).chat

    def rows() -> Iterator[Row]:
        for row, wrong in each_with_wrong_tries(db, iteration.id):
            rejected = [render_completion(config.kind, text, chat) for text in wrong]
            yield from (
                _of_dpo(row.prompt, row.completion, rejected)
                if shape == "dpo"
                else _of_kto(row.prompt, row.completion, rejected)
            )

    return rows()


def _of_dpo(prompt: str, kept: str, wrong: list[str]) -> Iterator[Row]:
    for text in wrong:
        yield {"prompt": prompt, "chosen": kept, "rejected": text}


def _of_kto(prompt: str, kept: str, wrong: list[str]) -> Iterator[Row]:
    yield {"prompt": prompt, "completion": kept, "label": True}
    for text in wrong:
        yield {"prompt": prompt, "completion": text, "label": False}
