"""What became of each train example so far."""

from __future__ import annotations

from app.http.auth import Reader
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import After, LongLimit, Page
from app.ledger.jobs.example_progress import ExampleState
from app.results.example_progress import ExampleProgressOut, read_example_progress

router = api_router("example_progress", "/v1/jobs/{job_id}/examples")


@router.get("", summary="List what the model solves and fails of the train examples")
def list_(
    caller: Reader,
    db: Db,
    job_id: str,
    state: ExampleState | None = None,
    limit: LongLimit = 20,
    after: After = None,
) -> Page[ExampleProgressOut]:
    """Examples that were tried, in the order of the dataset: their state, since when, and how often tried."""
    return read_example_progress(db, caller.project_id, job_id, state, limit=limit, after=after)
