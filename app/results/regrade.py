"""Grades a job's recorded rationales with another verifier or other filters, and changes nothing."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictInt, ValidationError
from sqlalchemy import Engine

from app.database import reading
from app.errors import Invalid
from app.http.problems import field_errors
from app.http.schemas import In, Item, JsonObject, Page, page
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.results.iterations import config_of
from app.ledger.results.regrade import ChangedPage, Regraded, iterations_to_regrade, regrade_iteration
from app.results.rationales import row_id_of
from star_engine.config.presets import laid_over
from star_engine.config.star import StarConfig
from star_engine.sampling.rationales import Route
from star_engine.tasks.kind import Kind
from star_engine.training_set.regrade import Change, Grade


class RegradeIn(In):
    """The verifier or filter settings to re-judge recorded rationales with."""

    iteration: Annotated[StrictInt, Field(ge=1, le=10_000)] | Literal["all"] = "all"
    kind: Annotated[Kind | None, Field(description="Another verifier; the prompts stay as they are.")] = None
    verifier: Annotated[JsonObject, Field(description="Verifier options that replace the job's.")] = Field(
        default={}
    )
    training_set: Annotated[
        JsonObject, Field(description="Overrides of the job's: filters, dedupe, max_per_example, ...")
    ] = Field(default={})


class GradeOut(BaseModel):
    verdict: str
    extracted: str | None
    rule: str
    decision: Annotated[str | None, Field(description='"kept", or the reason it was dropped for')]


class ChangeOut(Item):
    object: Literal["change"] = "change"
    iteration: int
    example: str
    route: Route
    sample: int
    before: GradeOut
    after: GradeOut


class FlipOut(BaseModel):
    before: str
    after: str
    count: int


class TrainingSetOut(BaseModel):
    kept: dict[str, int]
    sha256: str | None


class RegradedOut(BaseModel):
    iteration: int
    tries: int
    verdicts: Annotated[list[FlipOut], Field(description="Verdicts that flip.")]
    decisions: Annotated[list[FlipOut], Field(description="Decisions that change.")]
    recorded: TrainingSetOut
    regraded: TrainingSetOut


class RegradeOut(BaseModel):
    """Nothing is changed. `changes` are ordered by iteration, example, route and sample."""

    object: Literal["regrade"] = "regrade"
    job: str
    iterations: list[RegradedOut]
    changes: Page[ChangeOut]


def regrade_job(
    db: Engine, project_id: str, job_id: str, sent: RegradeIn, *, limit: int, after: str | None = None
) -> RegradeOut:
    """Which verdicts flip, which decisions change, and what the training sets would be."""
    number = None if sent.iteration == "all" else sent.iteration
    with reading(db) as session:
        job = job_with_texts(session, project_id, job_id)
        iterations = iterations_to_regrade(session, job, number)
    changed = ChangedPage(limit, None if after is None else row_id_of(after))
    found = [
        regrade_iteration(db, job, item, *_settings(config_of(job, item), sent), changed)
        for item in iterations
    ]
    rows = [_change(*row) for row in changed.rows]
    changes = page(rows, len(rows)).model_copy(update={"has_more": changed.has_more})
    return RegradeOut(job=job.id, iterations=[_iteration(item) for item in found], changes=changes)


def _settings(config: StarConfig, sent: RegradeIn) -> tuple[StarConfig, StarConfig]:
    """What judges, and what decides and builds. Raises Invalid naming the field at fault."""
    if "mix" in sent.training_set:
        raise Invalid.for_field(
            "training_set.mix",
            "A regrade mixes what the job mixes.",
            "Leave it out: other rows would have to be drawn from other datasets.",
            code="invalid_config",
        )
    options = config.verifier.model_dump(mode="json")
    if sent.verifier or sent.kind not in (None, config.kind):
        options = sent.verifier
    settings = config.model_dump(mode="json")
    settings["training_set"] = laid_over(settings["training_set"], sent.training_set)
    try:
        reading = {"kind": sent.kind or config.kind, "verifier": options, "layout": config.layout}
        judging = StarConfig.model_validate(reading)
        return judging, StarConfig.model_validate(settings)
    except ValidationError as failure:
        errors = field_errors(failure.errors(), "")
        named = ", ".join(dict.fromkeys(error.field for error in errors))
        raise Invalid(
            f"The settings are not valid: {named}.", code="invalid_config", errors=errors
        ) from failure


def _iteration(item: Regraded) -> RegradedOut:
    iteration, found = item.iteration, item.found
    return RegradedOut(
        iteration=iteration.number,
        tries=found.tries,
        verdicts=_flips(found.verdicts),
        decisions=_flips(found.decisions),
        recorded=TrainingSetOut(
            kept=_by_route(iteration.metrics.get("kept", {})), sha256=iteration.training_set_sha256
        ),
        regraded=TrainingSetOut(kept=_by_route(found.kept), sha256=found.training_set_sha256),
    )


def _by_route(kept: Any) -> dict[str, int]:
    return {route: kept.get(route, 0) for route in Route}


def _flips(counts: Counter[tuple[str, str]]) -> list[FlipOut]:
    return [
        FlipOut(before=before, after=after, count=count)
        for (before, after), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _change(row_id: int, iteration: int, change: Change) -> ChangeOut:
    return ChangeOut(
        id=f"rat_{row_id}",
        iteration=iteration,
        example=change.key.example_id,
        route=change.key.route,
        sample=change.key.sample,
        before=_grade(change.before),
        after=_grade(change.after),
    )


def _grade(grade: Grade) -> GradeOut:
    return GradeOut(
        verdict=grade.verdict, extracted=grade.extracted, rule=grade.rule, decision=grade.decision
    )
