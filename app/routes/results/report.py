"""What a job found out: the report in three forms, and the coverage of its train examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Header, Query
from fastapi.responses import Response
from pydantic import Field

from app.database import reading
from app.http.auth import Reader
from app.http.dependencies import Config, Db
from app.http.router import api_router
from app.http.schemas import Limit, Page, Resource, page
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.jobs.relations import Relative
from app.ledger.jobs.report import Coverage, JobReport, PhaseCost, read_coverage
from app.ledger.platform.prices import prices_of
from app.reports.document import make_document
from app.reports.markdown import markdown
from app.reports.negotiation import ReportFormat, accepted_format
from app.reports.page import page as html_page
from app.results.report import read_job_report
from app.tables.jobs import Job
from star_engine.evaluation.answer import Answer
from star_engine.evaluation.collapse import CollapseMeasures
from star_engine.evaluation.receipt import Receipt
from star_engine.evaluation.replicates import OverSeeds
from star_engine.evaluation.report import AccuracyRow, Churn, Switch

router = api_router("report", "/v1/jobs/{job_id}")

# The page holds what users named: nothing in it may run or load.
HTML_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
FORMS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/markdown": {"schema": {"type": "string"}},
            "text/html": {"schema": {"type": "string"}},
        }
    }
}


class CoverageOut(Resource):
    """`coverage` are shares of the iteration's examples; null where the phase is not done."""

    object: Literal["coverage"] = "coverage"
    job: str
    iteration: int
    solve_rate: float | None
    kept: dict[str, int] | None
    funnel: dict[str, dict[str, int]] | None
    coverage: dict[str, float] | None
    also: dict[str, Any] | None
    audits: dict[str, Any] | None
    churn: Churn | None
    steps: int | None
    tool_use: Annotated[
        dict[str, Any] | None, Field(description="By route: texts, calls. Null where the job has no tool.")
    ]
    tool_accuracy: Annotated[
        dict[str, Any] | None,
        Field(description="By mode: with the tool, without it, with a hint."),
    ]


class ReportOut(Resource):
    """Shares are between 0 and 1."""

    object: Literal["report"] = "report"
    job: str
    name: str
    status: str
    model: str
    dataset: str
    prompt_set: str
    answer: Answer
    accuracies: tuple[AccuracyRow, ...]
    coverage: tuple[Coverage, ...]
    switches: tuple[Switch, ...]
    cost: tuple[PhaseCost, ...]
    relatives: Annotated[
        tuple[Relative, ...],
        Field(description="Baselines, forks, and jobs to compare; differences are to their best iteration."),
    ]
    over_seeds: Annotated[OverSeeds | None, Field(description="Of a job created with `seeds`.")]
    receipt: Annotated[Receipt | None, Field(description="Of the most accurate iteration.")]
    collapse: Annotated[
        CollapseMeasures | None, Field(description="Of the last evaluated iteration, against the base model.")
    ]


@router.get("/report", summary="Get the report of a job", responses=FORMS, response_model=ReportOut)
def report(
    caller: Reader,
    db: Db,
    settings: Config,
    job_id: str,
    format_: Annotated[
        ReportFormat | None, Query(alias="format", description="Otherwise chosen by the Accept header.")
    ] = None,
    compare: Annotated[
        str | None, Query(max_length=300, description="Other jobs of the project, separated by commas.")
    ] = None,
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """Did STaR help here, and how sure is that?

    JSON, Markdown or one HTML page; of a running job, what is known so far.
    """
    wanted = format_ or accepted_format(accept)
    named = [] if compare is None else [name.strip() for name in compare.split(",")]
    prices = prices_of(settings) if settings.gpu_prices else None
    return RENDERERS[wanted](*read_job_report(db, caller.project_id, job_id, named, prices))


@router.get("/coverage", summary="List coverage and churn of a job's iterations, oldest first")
def coverage(
    caller: Reader,
    db: Db,
    job_id: str,
    limit: Limit = 100,
    after: Annotated[int, Query(ge=-1, le=10_000, description="The number of the last one seen.")] = -1,
) -> Page[CoverageOut]:
    """Newly solved, retained, forgotten and never solved: tried without a hint, counted per example."""
    with reading(db) as session:
        job = job_with_texts(session, caller.project_id, job_id)
        rows = read_coverage(session, job)
    return page([_coverage(job, row) for row in rows if row.iteration > after], limit)


def _coverage(job: Job, row: Coverage) -> CoverageOut:
    return CoverageOut(
        id=f"cov_{job.id}_{row.iteration}",
        created_at=job.created_at,
        job=job.id,
        iteration=row.iteration,
        solve_rate=row.solve_rate,
        kept=row.kept,
        funnel=row.funnel,
        coverage=row.coverage,
        also=row.also,
        audits=row.audits,
        churn=row.churn,
        steps=row.steps,
        tool_use=row.tool_use,
        tool_accuracy=row.tool_accuracy,
    )


def _json(job: Job, found: JobReport) -> Response:
    body = ReportOut(
        id=f"report_{job.id}",
        created_at=datetime.now(UTC),
        job=job.id,
        name=job.name,
        status=job.status,
        model=job.model_id,
        dataset=job.dataset_id,
        prompt_set=job.prompt_set_id,
        answer=found.answer,
        accuracies=found.accuracies,
        coverage=found.coverage,
        switches=found.switches,
        cost=found.cost,
        relatives=found.relatives,
        over_seeds=found.over_seeds,
        receipt=found.receipt,
        collapse=found.collapse,
    )
    return _response(body.model_dump_json(), "application/json")


def _markdown(job: Job, found: JobReport) -> Response:
    return _response(markdown(make_document(job, found)), "text/markdown; charset=utf-8")


def _html(job: Job, found: JobReport) -> Response:
    return _response(html_page(make_document(job, found)), "text/html; charset=utf-8", HTML_HEADERS)


def _response(text: str, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    always = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    return Response(text, media_type=media_type, headers={**always, **(headers or {})})


RENDERERS: dict[ReportFormat, Callable[[Job, JobReport], Response]] = {
    ReportFormat.JSON: _json,
    ReportFormat.MARKDOWN: _markdown,
    ReportFormat.HTML: _html,
}
