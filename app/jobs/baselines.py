"""A family of jobs in one POST: baselines to compare with, and replicates with other seeds.

Few-shot baselines are a phase of the job, all others are jobs of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, StrictInt
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.http.schemas import Text
from app.jobs.settings import JobIn
from app.jobs.validate import check_job
from app.ledger.jobs.jobs import NewJob
from app.ledger.jobs.relations import REPLICATE
from app.settings import Settings
from star_engine.config.presets import (
    CONTROLS,
    FIXED_TEMPERATURE,
    PRESETS,
    at_fixed_temperature,
    laid_beside,
    with_thoughts,
)
from star_engine.config.quiet_star import OuterLoop
from star_engine.config.star import StarConfig

FEW_SHOT = {"few-shot-direct": "few_shot_direct", "few-shot-cot": "few_shot_cot"}
BESIDE = (*PRESETS, FIXED_TEMPERATURE)
OF_DOCUMENTS = (*CONTROLS,)  # what a job on documents is compared with


class JobFamilyIn(JobIn):
    """A job, the baselines to compare it with, and the number of replicates."""

    baselines: Annotated[
        list[Annotated[Text, Field(max_length=64)]],
        Field(
            max_length=8,
            description=f"Some of {', '.join(BESIDE)}; for documents of {', '.join(OF_DOCUMENTS)}.",
        ),
    ] = Field(default=[])
    seeds: Annotated[
        list[Annotated[StrictInt, Field(ge=0, lt=2**31)]],
        Field(
            max_length=16,
            description="The job runs with the first seed and is repeated as separate jobs with the others.",
        ),
    ] = Field(default=[])


def check_family(
    session: Session, project_id: str, offered: frozenset[str], sent: JobFamilyIn, settings: Settings
) -> NewJob:
    """The job with its baselines and replicates, all resolved. Raises Invalid with what to change.

    A baseline runs with the job's own settings but for what its preset is about, so that nothing else
    differs between the two.
    """
    names = list(dict.fromkeys(sent.baselines))
    if unknown := [name for name in names if name not in (*BESIDE, *OF_DOCUMENTS)]:
        fix = f"Use some of {', '.join(BESIDE)}; for documents some of {', '.join(OF_DOCUMENTS)}."
        raise Invalid.for_field(
            "baselines", f"There is no baseline {unknown[0]!r}.", fix, code="unknown_baseline"
        )
    sent = _with_first_seed(sent)
    new = check_job(session, project_id, offered, sent, settings)
    fitting = OF_DOCUMENTS if new.config.method is OuterLoop.QUIET_STAR else BESIDE
    if unfit := [name for name in names if name not in fitting]:
        reason = f"{unfit[0]} is no baseline of a job with method {new.config.method}."
        fix = f"Use some of {', '.join(fitting)}."
        raise Invalid.for_field("baselines", reason, fix, code="unknown_baseline")
    if new.config.method is not OuterLoop.QUIET_STAR:
        new = replace(new, config=_with_few_shot(new.config, names))
    beside = tuple(
        _check_beside(session, project_id, offered, sent, new, name, settings)
        for name in names
        if name not in FEW_SHOT
    )
    return replace(new, beside=(*beside, *_replicates(new, sent.seeds[1:])))


def _with_first_seed(sent: JobFamilyIn) -> JobFamilyIn:
    if not sent.seeds:
        return sent
    if len(set(sent.seeds)) < len(sent.seeds):
        raise Invalid.for_field(
            "seeds", "A seed stands there twice.", "Give each once.", code="seeds_repeated"
        )
    first = sent.seeds[0]
    if sent.config.get("seed", first) != first:
        reason = f"config.seed is {sent.config['seed']}, and the first of `seeds` {first}."
        raise Invalid.for_field("seeds", reason, "Leave config.seed out.", code="seeds_differ")
    return sent.model_copy(update={"config": {**sent.config, "seed": first}})


def _replicates(new: NewJob, seeds: Sequence[int]) -> Iterator[NewJob]:
    """The same job with other seeds: nothing else is to be checked."""
    for seed in seeds:
        config = new.config.model_copy(update={"seed": seed})
        name = f"{new.name}: seed {seed}"[:200]
        yield replace(new, config=config, name=name, preset=REPLICATE, webhook=None, beside=())


def _with_few_shot(config: StarConfig, names: Sequence[str]) -> StarConfig:
    asked = (*config.evaluation.baselines, *(FEW_SHOT[name] for name in names if name in FEW_SHOT))
    settings: dict[str, Any] = config.model_dump(mode="json")
    settings["evaluation"]["baselines"] = list(dict.fromkeys(asked))
    return StarConfig.model_validate(settings)


def _settings_beside(config: StarConfig, preset: str) -> dict[str, Any]:
    if preset in CONTROLS:
        return with_thoughts(config, CONTROLS[preset]).model_dump(mode="json")
    if preset != FIXED_TEMPERATURE:
        return laid_beside(config, preset)
    try:
        return at_fixed_temperature(config)
    except ValueError as problem:
        fix = f"Leave {FIXED_TEMPERATURE} out, or set controller."
        raise Invalid.for_field("baselines", str(problem), fix, code="no_controller") from problem


def _check_beside(
    session: Session,
    project_id: str,
    offered: frozenset[str],
    sent: JobFamilyIn,
    new: NewJob,
    preset: str,
    settings: Settings,
) -> NewJob:
    whole = {name: getattr(sent, name) for name in JobIn.model_fields}
    whole |= {
        "preset": "star",
        "webhook": None,  # is of the job alone; the budget is of each
        "config": _settings_beside(new.config, preset),
        "name": f"{new.name}: {preset}"[:200],
    }
    try:
        made = check_job(session, project_id, offered, JobIn(**whole), settings)
    except Invalid as problem:
        errors = tuple(replace(error, field="baselines") for error in problem.errors)
        detail = f"The baseline {preset}: {problem.detail}"
        raise Invalid(detail, code=problem.code, errors=errors) from problem
    if made.config == new.config:
        detail = f"The baseline {preset} would run with the very settings of the job."
        fix = "Leave it out; `seeds` repeats a job."
        raise Invalid.for_field("baselines", detail, fix, code="baseline_equals_job")
    return replace(made, preset=preset)
