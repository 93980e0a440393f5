"""The minute before a job: what the base model writes, how many rows to expect, and how long it will take."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import page, url
from app.dashboard.session import Submitter, Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.jobs.change import cancel_job
from app.ledger.platform.keys import Caller
from app.results.quality.probes import ProbeOut, read_probe, wait_for_probe
from app.results.rationales import RationaleOut, read_rationales, wanted_of

router = page_router("/jobs/new/probes")
CARDS, TRIES_READ = 6, 200  # tries that are shown, and among which they are looked for
PROBE_SECONDS = 25.0  # that a page waits before it asks again: proxies cut at 30 or 60


@router.get("/{probe_id}")
async def probed(request: Request, caller: Viewer, db: Db, probe_id: str) -> Response:
    """Waits for its end: htmx asks for this part again when it comes without."""
    partial = request.headers.get("hx-request") is not None
    found = await wait_for_probe(db, caller.project_id, probe_id, PROBE_SECONDS if partial else 0)
    return await run_in_threadpool(_shown, request, caller, db, found)


@router.post("/{probe_id}/cancel")
def cancel_probe(request: Request, caller: Submitter, db: Db, probe_id: str) -> Response:
    if not read_probe(db, caller.project_id, probe_id).is_terminal:
        cancel_job(db, caller.project_id, probe_id, baselines=False)
    if request.headers.get("hx-request") is None:
        return RedirectResponse(url("jobs", "new", "probes", probe_id), status_code=303)
    return _shown(request, caller, db, read_probe(db, caller.project_id, probe_id))


def tries_shown(db: Db, caller: Caller, probe: ProbeOut | None) -> list[RationaleOut]:
    """The first of its tries, one to a question: what the model writes is seen before a job is paid for."""
    if probe is None:
        return []
    found = read_rationales(db, caller.project_id, probe.id, wanted_of(), limit=TRIES_READ).data
    firsts: dict[str, RationaleOut] = {}
    for one in found:
        firsts.setdefault(one.example.id, one)
    return list(firsts.values())[:CARDS]


def _shown(request: Request, caller: Caller, db: Db, probe: ProbeOut) -> Response:
    """Within the form of the job, where its button starts it, or as a page of its own."""
    partial = request.headers.get("hx-request") is not None
    template = "_probe.html" if partial else "probe.html"
    tries = tries_shown(db, caller, probe)
    return page(request, template, caller, probe=probe, tries=tries, starts=partial)
