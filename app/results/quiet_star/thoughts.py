"""Thoughts of jobs on documents, as they are shown: the word, what was thought before it, the gain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field
from sqlalchemy import Engine

from app.database import reading
from app.errors import BadRequest
from app.http.schemas import Item, Page, page
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.quiet_star.thoughts import each_thought, thought_page
from app.ledger.results.iterations import get_iteration
from app.tables.candidates import Thought

_ID = re.compile(r"tht_(\d{1,18})")


class ThoughtOut(Item):
    """A thought between the tokens of a held-out document. Nats are natural logarithms of probabilities."""

    object: Literal["thought"] = "thought"
    job: str
    iteration: int
    before: Annotated[str, Field(description="The end of the text that it follows.")]
    thought: str
    token: Annotated[str, Field(description="The token that follows in the document.")]
    gain: Annotated[float, Field(description="How much likelier the token became, in nats.")]
    nll: Annotated[float, Field(description="Of the token without the thought, in nats: how hard it is.")]
    drawn: Annotated[
        bool, Field(description="Drawn evenly from all positions; else one of those with the largest gains.")
    ]


@dataclass(frozen=True, slots=True)
class ThoughtsWanted:
    """The filters as they are sent, in a query."""

    iteration: Annotated[int | None, Query(ge=1, le=10_000)] = None
    drawn: Annotated[bool | None, Query(description="true: drawn evenly; false: with the largest gains.")] = (
        None
    )


def read_thoughts(
    db: Engine,
    project_id: str,
    job_id: str,
    wanted: ThoughtsWanted,
    *,
    limit: int,
    after: str | None = None,
) -> Page[ThoughtOut]:
    """A page by iteration; within one, those with the largest gains come first."""
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        found = thought_page(
            session,
            job.id,
            iteration=wanted.iteration,
            drawn=wanted.drawn,
            after=0 if after is None else _row_id_of(after),
            limit=limit + 1,
        )
        return page([_out(job.id, number, row) for number, row in found], limit)


def each_shown_thought(db: Engine, project_id: str, job_id: str, number: int) -> Iterator[dict[str, Any]]:
    """Every thought of an iteration as a flat row, for a file. Raises NotFound before the first one."""
    with reading(db) as session:
        iteration, _ = get_iteration(session, job_with_texts(session, project_id, job_id).id, number)

    def rows() -> Iterator[dict[str, Any]]:
        with reading(db) as session:
            for row in each_thought(session, iteration.id):
                shown = _out(job_id, number, row).model_dump(mode="json")
                yield {name: shown[name] for name in COLUMNS}

    return rows()


COLUMNS = {
    "before": "string",
    "thought": "string",
    "token": "string",
    "gain": "float64",
    "nll": "float64",
    "drawn": "bool",
}


def _row_id_of(name: str) -> int:
    found = _ID.fullmatch(name)
    if found is None:
        raise BadRequest(f"after: {name!r} is no id of a thought.")
    return int(found[1])


def _out(job_id: str, number: int, row: Thought) -> ThoughtOut:
    return ThoughtOut(
        id=f"tht_{row.id}",
        job=job_id,
        iteration=number,
        before=row.before,
        thought=row.thought,
        token=row.token,
        gain=round(row.gain, 6),
        nll=round(row.nll, 6),
        drawn=row.drawn,
    )
