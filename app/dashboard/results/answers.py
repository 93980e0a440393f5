"""What the baselines and each iteration answered to the held-out examples."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Response

from app.dashboard.rendering import page
from app.dashboard.results.segments import marked_all, put_in
from app.dashboard.results.verdict_words import VERDICTS
from app.dashboard.session import Viewer
from app.http.dependencies import Db
from app.http.router import page_router
from app.http.schemas import After
from app.jobs.read import read_job
from app.results.answers import AnswersWanted, answered_by, name_of, read_answers
from star_engine.evaluation.accuracy import EvaluationMode

router = page_router("/jobs/{job_id}/answers")
ROWS = 25
MODES = {
    EvaluationMode.FEW_SHOT_DIRECT: "few-shot, answer only",
    EvaluationMode.FEW_SHOT_COT: "few-shot with rationales",
    EvaluationMode.ADAPTER: "adapter",
    EvaluationMode.ADAPTER_WITHOUT_TOOLS: "adapter without its tool",
    EvaluationMode.ADAPTER_HINTED: "adapter with a hint",
    EvaluationMode.ADAPTER_WITHOUT_THOUGHTS: "adapter without its thoughts",
}


@router.get("")
def browse(
    request: Request,
    caller: Viewer,
    db: Db,
    job_id: str,
    wanted: Annotated[AnswersWanted, Depends()],
    after: After = None,
) -> Response:
    """Filters are those of GET /v1/jobs/{id}/answers."""
    known = answered_by(db, caller.project_id, job_id)
    found = read_answers(db, caller.project_id, job_id, wanted, limit=ROWS, after=after)
    names = {
        name_of(one): f"iteration {one.iteration}" if one.iteration else MODES[one.mode] for one in known
    }
    return page(
        request,
        "answers.html",
        caller,
        job=read_job(db, caller.project_id, job_id),
        found=found,
        texts={one.id: marked_all(one.text, put_in(one.tools)) for one in found.data},
        wanted=wanted,
        names=names,
        modes=MODES,
        verdicts=[(name, name) for name in VERDICTS],
        iteration_names=[
            (number, number or "0, few-shot") for number in sorted({one.iteration for one in known})
        ],
    )
