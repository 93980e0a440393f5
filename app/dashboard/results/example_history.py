"""One example across the iterations of a job, side by side, with the changes from each to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from app.dashboard.rendering import page
from app.dashboard.results.segments import Segment, changes, marked_all, put_in
from app.dashboard.results.verdict_words import ROUTES, decision_words
from app.dashboard.session import Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.read import read_job
from app.results.rationales import RationaleOut, read_history
from star_engine.sampling.rationales import WITH_HINT
from star_engine.tasks.registry import task_of

router = page_router("/jobs/{job_id}/examples")
TRIES = 200


@dataclass(frozen=True, slots=True)
class Try:
    """A rationale, and how it differs from what `against` names (None: there is nothing like it)."""

    found: RationaleOut
    why: str
    against: str | None
    text: Sequence[Segment] | None  # None: another text altogether

    @property
    def same(self) -> bool:
        return self.text is not None and not any(segment.mark for segment in self.text)


@router.get("/{example_id:path}")
def compare(
    request: Request, caller: Viewer, db: Db, job_id: str, example_id: str, after: After = None
) -> Response:
    found = read_history(db, caller.project_id, job_id, example_id, limit=TRIES, after=after)
    job = read_job(db, caller.project_id, job_id)
    shown: dict[str, Any] = {
        "job": job,
        "formal": task_of(job.config["kind"]).layout.working is not None,
        "name": example_id,
        "found": found,
        "columns": columns_of(found.data),
        "routes": ROUTES,
    }
    return page(request, "example.html", caller, **shown)


def columns_of(tries: Sequence[RationaleOut]) -> list[tuple[int, list[Try]]]:
    """Return one column per iteration. A try is compared with the try of the same route and sample in the
    iteration before, or with the first one there; the first rationalized try is compared with the unhinted
    one written just before it.
    """
    by_iteration: dict[int, list[RationaleOut]] = {}
    for one in tries:
        by_iteration.setdefault(one.iteration, []).append(one)
    numbers = sorted(by_iteration)
    found = []
    for place, number in enumerate(numbers):
        ordered = sorted(by_iteration[number], key=lambda one: (list(ROUTES).index(one.route), one.sample))
        before = by_iteration[numbers[place - 1]] if place else []
        found.append((number, [_compared(one, before, ordered) for one in ordered]))
    return found


def _compared(one: RationaleOut, before: Sequence[RationaleOut], beside: Sequence[RationaleOut]) -> Try:
    alike = [other for other in before if (other.route, other.sample) == (one.route, one.sample)]
    hinted = one.route in WITH_HINT
    unhinted = [other for other in beside if hinted and other.route == "generated"]
    other = next(iter([*alike, *unhinted, *before]), None)
    if other is None:
        return Try(one, decision_words(one), None, marked_all(one.text, put_in(one.tools)))
    against = "the try without the hint" if other in unhinted else f"iteration {other.iteration}"
    return Try(one, decision_words(one), against, changes(other.text, one.text))
