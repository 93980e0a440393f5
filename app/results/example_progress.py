"""What a job's model still fails, since when, and how often it was tried."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Engine

from app.data.datasets import ExampleOut, example_out
from app.database import reading
from app.http.schemas import Item, Page, page
from app.ledger.data.examples import find_example
from app.ledger.jobs.example_progress import ExampleProgress, ExampleState, example_progress
from app.ledger.jobs.jobs import job_with_texts


class ExampleProgressOut(Item):
    """What became of one train example so far. Overrides change what is trained on, not what was solved."""

    object: Literal["example_progress"] = "example_progress"
    id: Annotated[str, Field(description="The example's own id.")]
    example: ExampleOut
    state: Annotated[
        ExampleState,
        Field(
            description="By the newest iteration that tried it. solved: right without a hint; forgotten: "
            "not, but in an earlier one; unsolved: never; suspect: never right in three iterations or more, "
            "hinted tries included, so that its answer is probably wrong."
        ),
    ]
    since: Annotated[int, Field(description="The iteration from which on it was solved, or was not.")]
    iterations: Annotated[int, Field(description="How many iterations have tried it.")]
    last_iteration: Annotated[int, Field(description="The newest of them.")]
    tries: Annotated[int, Field(description="Without a hint.")]
    right: int
    hinted: Annotated[int, Field(description="Tries with the answer as a hint.")]
    hinted_right: int
    win_rate: Annotated[float, Field(description="The share of right tries, by both routes.")]
    trained: Annotated[int, Field(description="How many iterations' training sets have a row of it.")]


def read_example_progress(
    db: Engine, project_id: str, job_id: str, state: ExampleState | None, *, limit: int, after: str | None
) -> Page[ExampleProgressOut]:
    """A page in the order of the dataset; of examples that were tried."""
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        seen = 0 if after is None else find_example(session, job.dataset_id, after).id
        found = example_progress(session, job, state, after=seen, limit=limit + 1)
        return page([_out(one) for one in found], limit)


def _out(one: ExampleProgress) -> ExampleProgressOut:
    made = one.tries + one.hinted
    return ExampleProgressOut(
        id=one.example.external_id,
        example=example_out(one.example),
        state=one.state,
        since=one.since,
        iterations=one.iterations,
        last_iteration=one.last_iteration,
        tries=one.tries,
        right=one.right,
        hinted=one.hinted,
        hinted_right=one.hinted_right,
        win_rate=round((one.right + one.hinted_right) / made, 6) if made else 0.0,
        trained=one.trained,
    )
